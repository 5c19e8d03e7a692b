"""Do the weights explain this answer? A verdict in one sentence, which may be "no".

It comes from thresholds:

    "the weights explain"    in every group that takes part the expert with most weight is also the
                             one whose removal costs most, and no group or expert is a mismatch
    "the weights do not"     no expert was mixed in; or the experts together hardly shaped the
                             answer; or in fewer than half of the groups the expert with most weight
                             is the one whose removal costs most; or all of those are mismatches
    "partly"                 everything between

How much a part mattered to the whole answer has three words, `Size`, by the same thresholds; an
effect that the noise floor of the answer reaches is "hardly", whatever the threshold.

Where one expert of a group has all its weight, that it is also the one whose removal costs most is
no finding: the sentence says so, and where that holds of all groups it does not speak of an order.

A mismatch is a group or an expert whose weight says one thing and whose effect another, by the
thresholds below.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from atmoe.explanation.value import Explanation, Unit
from atmoe.steering.overrides import BANDS
from atmoe.wording import listed

HARDLY = 0.02
"""An effect this small, in nats per token (2% less likely), is "hardly mattered"."""
MATTERED = 0.05
"""From here on an effect counts as one that the weight should have shown."""
STRONGLY = 0.1
"""From here on it shaped the answer strongly, per token 1.1 times less likely without it: over 25
tokens, a sentence, that is 12 times. It is also from where on a single word is marked."""
LARGE, SMALL = 0.10, 0.03
"""Of the whole routing weight: from LARGE on an expert ought to matter, up to SMALL it ought not
to."""
SHAPED = 0.05
"""Experts that together make the answer less than this many nats per token likelier hardly shaped
it."""
ALONE = "One expert took part in each group, so inside the groups there was nothing to compare."
"""Of an answer whose groups could not disagree."""
UNMIXED = "No expert was mixed into this answer: the base model alone gave it."
"""The whole verdict at strength 0, and with all off: there is nothing to explain."""


class Level(StrEnum):
    """How far the weights explain an answer."""

    EXPLAIN = "explain"
    PARTLY = "partly"
    NOT = "do not"


class Size(StrEnum):
    """How much a part mattered to the whole answer, for it or against it."""

    STRONGLY = "strongly"
    SOMEWHAT = "somewhat"
    HARDLY = "hardly"


class Mismatch(StrEnum):
    """What a weight and its effect say against each other."""

    NO_EFFECT = "much weight, hardly any effect"
    AGAINST = "much weight, and the answer is likelier without it"
    UNSEEN = "little weight, large effect"


Mismatches = tuple[tuple[str, Mismatch], ...]
Leaders = dict[str, tuple[Unit, Unit]]


@dataclass(frozen=True)
class Verdict:
    """Whether the weights explain an answer, and what speaks against it.

    Attributes:
        sentence: to show.
        mismatches: the units that disagree, the heaviest first.
        agree: of the groups with several experts that take part, those in which the expert with
            most weight has the largest effect.
        groups: how many groups with several experts take part.
    """

    level: Level
    sentence: str
    mismatches: Mismatches
    agree: int
    groups: int

    def to_dict(self) -> dict[str, Any]:
        """What JSON takes."""
        return {
            "level": str(self.level),
            "sentence": self.sentence,
            "groups_that_agree": self.agree,
            "groups": self.groups,
            "mismatches": [{"unit": name, "what": str(what)} for name, what in self.mismatches],
        }


def hardly(explanation: Explanation) -> float:
    """Below this an effect on the answer is "hardly mattered"."""
    return max(HARDLY, explanation.floor or 0)


def size(effect: float, least: float = HARDLY) -> Size:
    """The word for an effect on a whole answer.

    Args:
        effect: in nats per token; below 0, the answer is likelier without.
        least: what `hardly` says of the answer.
    """
    if abs(effect) < least:
        return Size.HARDLY
    return Size.STRONGLY if abs(effect) >= STRONGLY else Size.SOMEWHAT


def mismatch(unit: Unit, least: float = HARDLY) -> Mismatch | None:
    """How a unit's weight and effect disagree. Any group of LARGE weight ought to matter.

    Args:
        unit: measured.
        least: what `hardly` says of the answer.

    Returns:
        None where they agree.
    """
    weight = round(unit.weight, 6)  # the mean of 0.1 over 30 layers is 0.09999999 in float32
    if weight >= LARGE:
        if unit.effect <= -least:
            return Mismatch.AGAINST
        return Mismatch.NO_EFFECT if unit.effect < least else None
    seen = weight > SMALL or unit.effect < max(MATTERED, least)
    return None if seen else Mismatch.UNSEEN


def leaders(explanation: Explanation) -> Leaders:
    """Of each group with several experts, the one with most weight and the one with most effect.

    A group without weight has neither; nor has any where no expert was mixed in. An expert without
    weight has an effect of 0, the most where all that have some are better left out: then nobody's
    removal costs anything.

    Returns:
        Group → (the expert with most weight, the expert whose removal costs most).
    """
    pairs: Leaders = {}
    if not explanation.mixed:
        return pairs
    for group, experts in explanation.layout.groups:
        if len(experts) > 1:
            units = [u for u in explanation.of("expert") if u.group == group]
            heaviest = max(units, key=lambda u: u.weight)
            if heaviest.weight > 0:
                pairs[group] = heaviest, max(units, key=lambda u: u.effect)
    return pairs


def undisputed(explanation: Explanation) -> list[str]:
    """The groups of several experts of which one alone has weight: no order is wrong there."""
    experts = explanation.of("expert")
    return [
        group
        for group, own in explanation.layout.groups
        if len(own) > 1 and sum(u.weight > 0 for u in experts if u.group == group) == 1
    ]


def by_construction(explanation: Explanation) -> list[str]:
    """The groups of which weight and effect name the same expert, for no other has weight."""
    pairs = leaders(explanation)
    alone = set(undisputed(explanation))
    return [group for group, pair in pairs.items() if group in alone and pair[0] is pair[1]]


def uncompared(explanation: Explanation) -> bool:
    """Whether all that agrees inside the groups does so by construction."""
    return explanation.mixed and len(by_construction(explanation)) == len(leaders(explanation))


def verdict(explanation: Explanation) -> Verdict:
    """The verdict on one answer, from what was measured of it."""
    if not explanation.mixed:
        return Verdict(Level.NOT, UNMIXED, (), 0, 0)
    pairs = leaders(explanation)
    agree = sum(heaviest is strongest for heaviest, strongest in pairs.values())
    units = sorted((*explanation.of("group"), *explanation.of("expert")), key=lambda u: -u.weight)
    judged = [(u.name, mismatch(u, hardly(explanation))) for u in units]
    mismatches = tuple((name, what) for name, what in judged if what)
    level, sentence = _ruling(explanation, pairs, agree, mismatches)
    return Verdict(level, sentence, mismatches, agree, len(pairs))


def _ruling(
    explanation: Explanation, pairs: Leaders, agree: int, mismatches: Mismatches
) -> tuple[Level, str]:
    """The level, and the sentence to show."""
    gained = explanation.logp - explanation.base_logp
    if gained < SHAPED:
        without_experts = "hardly less likely" if gained > -SHAPED else "more likely"
        return Level.NOT, (
            f"The weights do not explain this answer: without any expert it would be "
            f"{without_experts}, so no share of the weight tells why it was given."
        )
    disagreeing = {name for name, _ in mismatches}
    all_mismatches = all(heaviest.name in disagreeing for heaviest, _ in pairs.values())
    if pairs and (2 * agree < len(pairs) or all_mismatches):
        disagreement = _disagreement(explanation, pairs, mismatches)
        return Level.NOT, f"The weights do not explain this answer: {disagreement}."
    caveat = _caveat(explanation)
    if agree == len(pairs) and not mismatches:
        reason = "every group that received much weight has an effect."
        if not uncompared(explanation):
            reason = (
                "in every group, the expert with the most weight is also the one whose removal "
                "costs most."
            )
        return Level.EXPLAIN, f"The weights explain this answer: {reason}{caveat}"
    disagreement = _disagreement(explanation, pairs, mismatches)
    return Level.PARTLY, f"The weights explain this answer only partly: {disagreement}.{caveat}"


def _caveat(explanation: Explanation) -> str:
    """Where nothing could disagree; empty where everything could."""
    if uncompared(explanation):
        return f" {ALONE}"
    alone = by_construction(explanation)
    if not alone:
        return ""
    return (
        f" In {listed(alone)} one expert has all the weight, so there is no order in which weight "
        "and effect could differ."
    )


def _disagreement(explanation: Explanation, pairs: Leaders, mismatches: Mismatches) -> str:
    """The one thing that most needs saying."""
    if mismatches:
        name, what = mismatches[0]
        unit = explanation.unit(name)
        received = f"{unit.plain} received {unit.weight:.0%} of the weight"
        return {
            Mismatch.NO_EFFECT: f"{received}, but hardly mattered",
            Mismatch.AGAINST: f"{received}, but without it the answer would be more likely",
            Mismatch.UNSEEN: f"{received}, yet without it the answer would be {unit.ratio:.2f} "
            f"times less likely per token",
        }[what]
    heaviest, strongest = next((h, s) for h, s in pairs.values() if h is not s)
    if not strongest.weight:
        return (
            f"in {heaviest.group}, {heaviest.plain} received most weight, but without it the "
            "answer would be no less likely"
        )
    return (
        f"in {heaviest.group}, {heaviest.plain} received most weight, but removing "
        f"{strongest.plain} costs more"
    )


def plain(name: str) -> str:
    """A unit's name as it is said, where nothing but the name is at hand (else: `Unit.plain`).

    "treatment" for task/treatment, "task in the late layers" for task@late.
    """
    group, _, band = name.rpartition("@")
    return f"{group} in the {band} layers" if band in BANDS and group else name.rpartition("/")[2]
