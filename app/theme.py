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
