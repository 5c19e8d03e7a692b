"""Colours and the look of Plotly figures, once for the page and for the pictures of the README.

Text takes its colour from the page's style sheet, so that it is legible in light and dark.
"""

from __future__ import annotations

from typing import Any

BLUE, VERMILION = "#0072b2", "#d55e00"
"""Of the Okabe–Ito palette: apart from each other, and vermilion from both ends of the colour scale
as well, for colour-blind eyes too."""
GREY = "#8a8a8a"
SCALE = "Cividis"
"""The colour scale of shares."""
CIVIDIS = (
    *(0x00224E, 0x123570, 0x3B496C, 0x575D6D, 0x707173),
    *(0x8A8678, 0xA59C74, 0xC3B369, 0xE1CC55, 0xFEE838),
)
"""Its colours from 0 to 100%, evenly spaced, for what is drawn without Plotly."""

LOOK: dict[str, Any] = {
    "paper_bgcolor": "rgba(0,0,0,0)",
    "plot_bgcolor": "rgba(128,128,128,0.12)",
    "font": {"size": 12, "family": "system-ui"},
    "dragmode": False,
}
"""Of every figure's layout on the page."""
HOVER = {"font_size": 13}
"""Of the label at the pointer."""
PANEL_TITLE: dict[str, Any] = {"font_size": 12, "x": 0, "xanchor": "left"}
"""Of the title above each panel."""
BARE_AXIS = {"showgrid": False, "zeroline": False}
MARGIN = 4
"""Pixels left free at either side."""


def shade(share: float) -> str:
    """The colour of a share, 0 to 1, as "#rrggbb"."""
    return "#" + "".join(f"{channel:02x}" for channel in _channels(share))


def ink(share: float) -> str:
    """Black or white, whichever reads better on the colour of a share.

    At a relative luminance of 0.179, as WCAG 2 has it, both have the same contrast.
    """
    linear = [
        c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4
        for c in (channel / 255 for channel in _channels(share))
    ]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "#000" if luminance > 0.179 else "#fff"


def _channels(share: float) -> list[int]:
    """Red, green and blue of a share's colour, 0 to 255."""
    place = share * (len(CIVIDIS) - 1)
    low = min(int(place), len(CIVIDIS) - 2)
    ends = (colour.to_bytes(3, "big") for colour in CIVIDIS[low : low + 2])
    return [round(a + (b - a) * (place - low)) for a, b in zip(*ends)]
