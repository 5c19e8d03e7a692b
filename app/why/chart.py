"""The effects of an explanation → bars on one scale that is the same for every answer, as HTML.

    task            ▕░█████████                 |strongly · 1.18 times less likely
      treatment     ▕░████████████              |...
    audience        ▕▒                          |hardly · 1.01 times less likely

A longer bar than the scale is cut, and says so. Hatched is what "hardly" means; the noise floor
that was measured for this answer stands below, and widens it where it is more.
"""

from __future__ import annotations

import math
from html import escape

from atmoe.explanation.value import Explanation, Unit
from atmoe.explanation.verdict import Size, hardly, size
from atmoe.wording import likely

FULL = math.log(1.5)
"""The end of the scale, in nats per token: over a sentence of 25 tokens, 25,000 times."""
AGAINST = FULL / 4
"""The end to the other side, of what goes against the answer."""
TICKS = (1.0, 1.1, 1.2, 1.3, 1.4, 1.5)
"""How many times less likely the answer is without the part, per token, at each mark."""
UNMEASURED = "The noise floor is still to be measured."


def chart(explanation: Explanation) -> str:
    """Every group and expert that has weight, with its bar and the same in words."""
    rows = "".join(_row(explanation, unit) for unit in _shown(explanation))
    ticks = "".join(
        f'<span style="left:{_at(math.log(times)):.2f}%">{times:g}×</span>' for times in TICKS
    )
    return (
        '<table class="effects" data-name="effects">'
        f"<caption>How much less likely the whole answer is, per token, "
        f'without each part</caption><thead><tr><th scope="col">Part</th>'
        f'<th scope="col" class="track ticks" data-csv="skip" aria-label="Bar">{ticks}</th>'
        f'<th scope="col">Without it, the answer is</th></tr></thead><tbody>{rows}</tbody></table>'
        f'<p class="hint">{escape(floor_note(explanation))}</p>'
    )


def floor_note(explanation: Explanation) -> str:
    """How far a bar tells nothing, and how that was measured."""
    hatched = f"Hatched: less than {math.exp(hardly(explanation)):.2f} times is “hardly”."
    if explanation.floor is None:
        return hatched if explanation.complete else f"{hatched} {UNMEASURED}"
    return (
        f"{hatched} Noise floor of this answer: {math.exp(explanation.floor):.3f} times. So much "
        "it costs to move every share by a tenth of itself at random, so that no part gains or "
        "loses."
    )


def _shown(explanation: Explanation) -> list[Unit]:
    """Groups that have weight, each with its experts that have, the strongest first.

    Where one expert has all of its group's weight, the two are the same, and the expert stands for
    both.
    """
    units = []
    for group in sorted(explanation.of("group"), key=lambda unit: -unit.effect):
        experts = [u for u in explanation.of("expert") if u.group == group.name and u.weight > 0]
        experts.sort(key=lambda unit: -unit.effect)
        if len(experts) != 1:
            units += [group] * (group.weight > 0)
        units += experts
    return units


def _row(explanation: Explanation, unit: Unit) -> str:
    what = size(unit.effect, hardly(explanation))
    own = [u for u in explanation.of("expert") if u.group == unit.group and u.weight > 0]
    name = escape(unit.plain)
    if unit.kind == "expert" and len(own) == 1:
        name = f"{escape(unit.group)}: {name}"
    kind = "under" if unit.kind == "expert" and len(own) > 1 else "whole"
    return (
        f'<tr class="{kind}" data-unit="{escape(unit.name)}"><th scope="row">{name}</th>'
        f'<td class="track" data-csv="skip" aria-hidden="true">{_floor(explanation)}'
        f"{_bar(unit.effect, what)}</td>"
        f"<td>{escape(likely(unit.effect))} <small>({what})</small></td></tr>"
    )


def _bar(effect: float, what: Size) -> str:
    """A bar from the line of no effect, cut at the end of the scale."""
    shown = min(max(effect, -AGAINST), FULL)
    start, end = sorted((_at(0), _at(shown)))
    classes = ["bar", str(what)]
    classes += ["against"] * (effect < 0) + ["cut"] * (shown != effect)
    return (
        f'<span class="{" ".join(classes)}" style="left:{start:.2f}%;width:{end - start:.2f}%">'
        "</span>"
    )


def _floor(explanation: Explanation) -> str:
    """The stretch around the line of no effect in which an effect is "hardly"."""
    floor = min(hardly(explanation), AGAINST)
    start, end = _at(-floor), _at(floor)
    return f'<span class="floor" style="left:{start:.2f}%;width:{end - start:.2f}%"></span>'


def _at(effect: float) -> float:
    """Where an effect stands on the scale, in percent of its length."""
    return 100 * (effect + AGAINST) / (FULL + AGAINST)
