"""What the comparison and the third answer know of a session."""

from __future__ import annotations

from dataclasses import dataclass

from app.session import Session
from atmoe import RoutingPlan
from atmoe.explanation.compare import Comparison
from atmoe.steering.reference import Beside


@dataclass
class CompareState:
    """What is held against what.

    Attributes:
        compared: the plans of the answers that were compared.
        comparison: what came out.
        kind: under which plan the third answer is given; None where there is none.
    """

    compared: tuple[RoutingPlan, ...] = ()
    comparison: Comparison | None = None
    kind: Beside | None = None

    def cancel(self) -> None:
        """Nothing: a comparison is one step, and the third answer is the session's own."""

    def forget(self) -> None:
        """The answers that were compared are no more."""
        self.compared, self.comparison = (), None


def forget_third(session: Session) -> None:
    """Stop the third answer, and take it away."""
    session.third.clear()
    session.tab(CompareState).kind = None
