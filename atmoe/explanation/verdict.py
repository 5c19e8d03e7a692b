"""Do the weights explain this answer? A verdict in one sentence, from thresholds, which may be "no".

    "the weights explain"    in every group the expert with most weight is also the one whose removal costs most, and no
                             group or expert is a mismatch
    "the weights do not"     the experts together hardly shaped the answer; or in fewer than half of the groups the expert
                             with most weight is the one whose removal costs most; or all of those are mismatches
    "partly"                 everything between

A mismatch is a group or an expert whose weight says one thing and whose effect another, by the thresholds below.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from atmoe.explanation.value import Explanation, Unit

HARDLY = 0.02
"""An effect this small, in nats per token (2% less likely), is "hardly mattered"."""
MATTERED = 0.05
"""From here on an effect counts as one that the weight should have shown."""
LARGE, SMALL = 0.10, 0.03
"""Of the whole routing weight: from LARGE on an expert ought to matter, up to SMALL it ought not to."""
SHAPED = 0.05
"""Experts that together make the answer less than this many nats per token likelier hardly shaped it."""


class Level(StrEnum):
    EXPLAIN = "explain"
    PARTLY = "partly"
    NOT = "do not"


class Mismatch(StrEnum):
    """What a weight and its effect say against each other."""

    NO_EFFECT = "much weight, hardly any effect"
    AGAINST = "much weight, and the answer is likelier without it"
    UNSEEN = "little weight, large effect"


@dataclass(frozen=True)
class Verdict:
    """level, and the sentence to show.  mismatches: the units that disagree, the heaviest first.
    agree: groups, of those with several experts, in which the expert with most weight has the largest effect; groups: these.
    """

    level: Level
    sentence: str
    mismatches: tuple[tuple[str, Mismatch], ...]
    agree: int
    groups: int

    def to_dict(self) -> dict:
        return {
            "level": str(self.level),
            "sentence": self.sentence,
            "groups_that_agree": self.agree,
            "groups": self.groups,
            "mismatches": [{"unit": name, "what": str(what)} for name, what in self.mismatches],
        }


def mismatch(unit: Unit) -> Mismatch | None:
    """Whether a unit's weight and effect disagree. Any group that has LARGE weight ought to matter."""
    if unit.weight >= LARGE:
        return (
            Mismatch.AGAINST
            if unit.effect <= -HARDLY
            else Mismatch.NO_EFFECT
            if unit.effect < HARDLY
            else None
        )
    return Mismatch.UNSEEN if unit.weight <= SMALL and unit.effect >= MATTERED else None


def leaders(explanation: Explanation) -> dict[str, tuple[Unit, Unit]]:
    """Of each group with several experts: the one with most weight, and the one whose removal costs most."""
    found = {}
    for group, experts in explanation.layout.groups:
        mine = [u for u in explanation.of("expert") if u.group == group]
        if len(experts) > 1:
            found[group] = max(mine, key=lambda u: u.weight), max(mine, key=lambda u: u.effect)
    return found


def verdict(explanation: Explanation) -> Verdict:
    """See the module."""
    pairs = leaders(explanation)
    agree = sum(heaviest is strongest for heaviest, strongest in pairs.values())
    units = sorted((*explanation.of("group"), *explanation.of("expert")), key=lambda u: -u.weight)
    odd = tuple((u.name, what) for u in units if (what := mismatch(u)))
    gained = explanation.logp - explanation.base_logp
    if gained < SHAPED:
        return Verdict(
            Level.NOT,
            "The weights do not explain this answer: without any expert it would be "
            + ("hardly less likely" if gained > -SHAPED else "more likely")
            + ", so no share of the weight tells why it was given.",
            odd,
            agree,
            len(pairs),
        )
    heavy = [heaviest.name for heaviest, _ in pairs.values()]
    if pairs and (2 * agree < len(pairs) or all(name in dict(odd) for name in heavy)):
        return Verdict(
            Level.NOT,
            f"The weights do not explain this answer: {_disagreement(explanation, pairs, odd)}.",
            odd,
            agree,
            len(pairs),
        )
    if agree == len(pairs) and not odd:
        return Verdict(
            Level.EXPLAIN,
            "The weights explain this answer: "
            + (
                "in every group, the expert with the most weight is also the one whose removal costs most."
                if pairs
                else "every group that received much weight has an effect."
            ),
            odd,
            agree,
            len(pairs),
        )
    return Verdict(
        Level.PARTLY,
        f"The weights explain this answer only partly: {_disagreement(explanation, pairs, odd)}.",
        odd,
        agree,
        len(pairs),
    )


def _disagreement(
    explanation: Explanation,
    pairs: dict[str, tuple[Unit, Unit]],
    odd: Sequence[tuple[str, Mismatch]],
) -> str:
    """The one thing that most needs saying."""
    if odd:
        unit, what = explanation.unit(odd[0][0]), odd[0][1]
        received = f"{plain(unit.name)} received {unit.weight:.0%} of the weight"
        return {
            Mismatch.NO_EFFECT: f"{received}, but hardly mattered",
            Mismatch.AGAINST: f"{received}, but without it the answer would be more likely",
            Mismatch.UNSEEN: f"{received}, yet without it the answer would be {unit.ratio:.2f} times less likely per token",
        }[what]
    heaviest, strongest = next((h, s) for h, s in pairs.values() if h is not s)
    return (
        f"in {heaviest.group}, {plain(heaviest.name)} received most weight, but removing {plain(strongest.name)} "
        f"costs more"
    )


def plain(name: str) -> str:
    """A unit's name as it is said: "treatment" for task/treatment, "task in the late layers" for task@late."""
    group, _, band = name.partition("@")
    return f"{group} in the {band} layers" if band else name.rpartition("/")[2]
