"""Pictures and tables of the reports, for the README and the model card:

    PYTHONPATH=. python tests/pictures.py assets/medical/reports assets/figures
"""

import json
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright
from test_page import CHROMIUM, QUIET

from app.reports import band_table, baseline_table, control_figure, control_table, routing_figure


def main(reports: Path, out: Path) -> None:
    read = lambda name: json.loads((reports / name).read_text()) if (reports / name).is_file() else None
    figures = {}
    if evaluation := read("evaluate.json"):
        print(baseline_table(evaluation), "\n")
    if routing := read("routing.json"):
        print(band_table(routing), "\n")
        figures["routing"] = routing_figure(routing)
    if control := read("control.json"):
        print(control_table(control), "\n")
        figures |= {f"control-{group}": control_figure(control, group) for group in control["groups"]}
    out.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playing:
        browser = playing.chromium.launch(executable_path=CHROMIUM if CHROMIUM.exists() else None, args=QUIET)
        for name, figure in figures.items():
            page = browser.new_page(viewport={"width": figure.layout.width, "height": figure.layout.height})
            page.set_content(figure.to_html(include_plotlyjs=True, config={"staticPlot": True}), wait_until="load")
            page.wait_for_selector(".main-svg")
            page.locator(".plotly-graph-div").screenshot(path=out / f"{name}.png")
        browser.close()


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
