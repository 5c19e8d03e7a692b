"""Our own aims for the shipped model beside what its reports hold, for the card: met or not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from routing.test_own_words import READ
from tools.markdown import table
from tools.tables import losses, report, rounded


def percent(share: float, digits: int) -> str:
    return f"{rounded(100 * share, digits).removesuffix('.0')}%"


@dataclass(frozen=True)
class Aim:
    """One figure that was aimed at.

    Attributes:
        what: the figure.
        measured: it, as the reports have it.
        aim: what it should be.
        write: a number of this kind in words, of so many digits.
        digits: it is written with, and more where it would look as if it met the aim.
        most: whether less is better.
    """

    what: str
    measured: float
    aim: float
    write: Callable[[float, int], str] = percent
    digits: int = 1
    most: bool = False

    @property
    def met(self) -> bool:
        return self.measured <= self.aim if self.most else self.measured >= self.aim

    def row(self) -> tuple[str, str, str, str]:
        """What, measured, aim, and whether it was met."""
        aim, digits = self.write(self.aim, self.digits), self.digits
        while not self.met and self.write(self.measured, digits) == self.write(self.aim, digits):
            digits += 1
        measured = self.write(self.measured, digits)
        bound = "at most " if self.most and self.aim else ""
        return self.what, measured, bound + aim, "yes" if self.met else "**no**"


def aims() -> list[Aim]:
    """All of them, of the reports that are shipped."""
    weights, routing, answers = report("faithfulness"), report("routing"), report("answers")
    control, known, sources = report("control"), report("familiarity"), report("sources")
    nll = losses()["nll"]
    behind = nll["router"]["macro"] - nll["lora"]["macro"]
    agree, tau = weights["top_expert_agrees"], weights["kendall"]["weight"]
    prompts, both = weights["prompts"], answers["both_needs"]
    easier = {by: told["patient_reads_easier"] for by, told in control["contrast"].items()}
    flagged = {kind: told["mean"] for kind, told in known["flagged"].items()}
    task = control["groups"]["task"]["expert"]
    near = sources["ways"]["together"]
    right, _, lines = READ["people", "task"]
    return [
        Aim("weights: τ-b of weight and effect, experts", tau["expert"], 0.70, rounded, 2),
        Aim("weights: the same, groups", tau["group"], 0.45, rounded, 2),
        Aim("weights: the same, thirds of the layers", tau["band"], 0.35, rounded, 2),
        Aim("weights: the heaviest expert is the costliest, task", agree["task"], 0.97),
        Aim("weights: the same, specialty", agree["specialty"], 0.80),
        Aim("weights: the same, audience", agree["audience"], 0.97),
        Aim(
            f"weights: verdict “explain”, of {prompts}",
            weights["verdicts"]["explain"],
            40,
            rounded,
            0,
        ),
        Aim(
            "weights: the same, with another prompt's weights",
            weights["verdicts_shuffled"].get("explain", 0),
            0,
            rounded,
            0,
            most=True,
        ),
        Aim("loss: behind one tuned LoRA, nats a token", behind, 0.02, rounded, 3, most=True),
        Aim("reading: task, in wordings never trained on", routing["agreement"]["task"], 0.88),
        Aim(f"reading: task, in people's own words, of {lines} lines", right / lines, 0.88),
        Aim("reading: specialty", routing["agreement"]["specialty"], 0.80),
        Aim(
            "reading: both of two needs are the largest",
            routing["two_needs"]["both_largest"],
            0.90,
        ),
        Aim(
            "reading: each above twice its uniform share",
            routing["two_needs"]["both_above_twice_uniform"],
            0.75,
        ),
        Aim("two needs: both experts take part", both["in_team"], 1),
        Aim("two needs: both keep 70% of what they gain alone", both["kept"], 1),
        Aim(
            f"answers: begin with an echoed heading, of {answers['answers']}",
            answers["echoed"],
            0,
            rounded,
            0,
            most=True,
        ),
        Aim("answers: have a list in running text", answers["flattened"], 0, rounded, 0, most=True),
        Aim(
            "answers: speak of a patient whom nobody mentioned",
            answers["patient"],
            0,
            rounded,
            0,
            most=True,
        ),
        Aim(
            "control: the wrong task expert answers worse, in prompts",
            control["wrong"]["task"]["mean_worse_than_right"],
            0.90,
        ),
        Aim(
            "control: dose of the right task expert, Spearman in the median prompt",
            task["median_spearman"],
            0.8,
            rounded,
            1,
        ),
        Aim("control: the same, prompts monotone within noise", task["monotone"], 0.70),
        Aim(
            "control: *patient* reads easier than *professional*, by the group's share",
            easier["group"],
            0.80,
        ),
        Aim("control: the same, by the expert's share", easier["expert"], 0.80),
        Aim(
            "out of its depth: lines of other matters that are flagged",
            flagged["outside, all"],
            0.97,
        ),
        Aim(
            "out of its depth: questions about unseen diseases that are flagged",
            flagged["unseen diseases, rephrased"],
            0.05,
            most=True,
        ),
        Aim("out of its depth: AUROC", known["auroc"]["mean"], 0.98, rounded, 3),
        Aim("sources: the disease is among the five nearest", near["reach"]["mean"], 0.90),
        Aim("sources: of unseen diseases, they share the task", near["task"]["mean"], 0.95),
        Aim("sources: and the specialty", near["specialty"]["mean"], 0.80),
    ]


def aims_table() -> str:
    """All of them as Markdown."""
    head = ("figure", "measured", "aim", "met")
    return table(head, [aim.row() for aim in aims()], numbers=3)
