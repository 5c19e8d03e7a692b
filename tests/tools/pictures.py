"""Pictures of the reports, for the model card and the library's document:

    PYTHONPATH=.:tests python tests/tools/pictures.py

Reads assets/medical/reports/*.json, which `python -m atmoe evaluate…` printed with --json.
The tables beside them are made by tests/tools/documents.py.
"""

import json

from browser import LAUNCH
from conftest import ROOT
from playwright.sync_api import sync_playwright
from tools.reports import control_figure, load_figure, routing_figure
from tools.tables import loads

REPORTS, PICTURES = ROOT / "assets/medical/reports", ROOT / "assets/figures"


def main() -> None:
    routing, control = (
        json.loads((REPORTS / f"{name}.json").read_text()) for name in ("routing", "control")
    )
    figures = {"routing": routing_figure(routing), "memory": load_figure(loads())}
    for group, doses in control["groups"].items():
        # A report measured before each prompt's change was kept has its pictures already, and
        # cannot be drawn anew.
        if all("change_quartiles" in part or "mean" not in part for part in doses.values()):
            figures[f"control-{group}"] = control_figure(control, group)
    PICTURES.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playing:
        browser = playing.chromium.launch(**LAUNCH)
        for name, figure in figures.items():
            page = browser.new_page(
                viewport={"width": figure.layout.width, "height": figure.layout.height}
            )
            page.set_content(
                figure.to_html(include_plotlyjs=True, config={"staticPlot": True}),
                wait_until="load",
            )
            page.wait_for_selector(".main-svg")
            page.locator(".plotly-graph-div").screenshot(path=PICTURES / f"{name}.png")
        browser.close()


if __name__ == "__main__":
    main()
