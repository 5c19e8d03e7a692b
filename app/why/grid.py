"""Explanations → a table of the three measures, as HTML in which every text is escaped."""

from __future__ import annotations

from html import escape

from atmoe.explanation.value import Explanation, Unit
from atmoe.explanation.verdict import by_construction, hardly, leaders, mismatch
from atmoe.wording import likely

LENSES = ("weight", "contribution", "effect")
HEADS = (
    ("Weight", "share of the routing weight"),
    ("Contribution", "size of its change, beside the layer's own output"),
    ("Effect", "without it, the answer is, per token"),
    ("Together", "do they agree?"),
)


def grid(explanation: Explanation, bands: bool = False) -> str:
    """Units × weight, contribution, effect, and what they say together.

    Args:
        explanation: what was measured.
        bands: groups by third of the layers, instead of groups and their experts.
    """
    # 1. the rows: a row's style, and its unit
    rows: list[tuple[str, Unit]] = []
    if bands:
        rows = [("expert", unit) for unit in explanation.of("band")]
    else:
        experts = sorted(explanation.of("expert"), key=lambda u: -u.weight)
        for group in explanation.of("group"):
            rows.append(("group", group))
            rows += [("expert", unit) for unit in experts if unit.group == group.name]

    # 2. their cells
    most = {lens: max(abs(getattr(u, lens)) for _, u in rows) or 1.0 for lens in LENSES}
    sure = by_construction(explanation)  # which is no finding
    both = {
        heaviest.name
        for group, (heaviest, strongest) in leaders(explanation).items()
        if heaviest is strongest and group not in sure
    }
    lines = []
    for style, unit in rows:
        together = _together(unit, both, hardly(explanation)) if explanation.mixed else ""
        cells = (
            _cell(unit.weight, most["weight"], f"{unit.weight:.1%}")
            + _cell(unit.contribution, most["contribution"], f"{unit.contribution:.3f}")
            + _cell(unit.effect, most["effect"], likely(unit.effect))
        )
        lines.append(
            f'<tr class="{style}" data-unit="{escape(unit.name)}">'
            f'<th scope="row">{escape(unit.plain)}</th>{cells}'
            f"<td>{escape(together)}</td></tr>"
        )

    # 3. the table
    named = "three measures by third of the layers" if bands else "three measures"
    head = "".join(f'<th scope="col">{title}<small>{note}</small></th>' for title, note in HEADS)
    return (
        '<div class="scroll" tabindex="0" role="region" '
        f'aria-label="Weight, contribution and effect"><table class="lenses" data-name="{named}">'
        f'<thead><tr><th scope="col">{"Group, layers" if bands else "Group and expert"}</th>'
        f"{head}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
    )


def _together(unit: Unit, both: set[str], least: float) -> str:
    """What a unit's three measures say together.

    Args:
        unit: measured.
        both: names of those with most weight and largest effect of their group.
        least: below this an effect hardly mattered.
    """
    what = mismatch(unit, least)
    if what:
        return f"⚠ {what}"
    return "✓ most weight and largest effect of its group" if unit.name in both else ""


def _cell(value: float, most: float, text: str) -> str:
    """A number with a bar behind it.

    What goes against the answer is hatched, and says so in its words.
    """
    width = round(100 * abs(value) / most)
    return (
        f'<td class="number"><span class="bar{" against" * (value < 0)}" '
        f'style="width:{width}%"></span><span>{escape(text)}</span></td>'
    )
