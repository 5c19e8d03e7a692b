"""Pictures, tables and sentences of the reports, put into the README and the model card between their marks:

    PYTHONPATH=. python tests/pictures.py

Reads assets/medical/reports/*.json, which `python -m atmoe evaluate…` and `faithfulness` printed with --json.
"""

import json
import re

from tools.reports import (
    band_table,
    baseline_table,
    control_figure,
    control_table,
    faithfulness_table,
    routing_figure,
    routing_sentences,
    strength_table,
)
from browser import CHROMIUM, QUIET
from conftest import ROOT
from playwright.sync_api import sync_playwright

REPORTS, PICTURES = ROOT / "assets/medical/reports", ROOT / "assets/figures"
PAGES = (ROOT / "README.md", ROOT / "assets/medical/README.md")


def main() -> None:
    evaluation, routing, control, faithfulness, strength = (
        json.loads((REPORTS / f"{name}.json").read_text())
        for name in ("evaluate", "routing", "control", "faithfulness", "strength")
    )
    tables = {
        "baselines": baseline_table(evaluation),
        "routing": routing_sentences(routing),
        "bands": band_table(routing),
        "control": control_table(control),
        "faithfulness": faithfulness_table(faithfulness),
        "strength": strength_table(strength),
    }
    for page in PAGES:
        text = page.read_text()
        for name, table in tables.items():
            text = re.sub(
                rf"(<!-- {name} -->\n).*?(<!-- end -->)",
                lambda m, table=table: f"{m[1]}\n{table}\n\n{m[2]}",
                text,
                flags=re.DOTALL,
            )
        page.write_text(text)
    figures = {"routing": routing_figure(routing)}
    for group, found in control["groups"].items():
        # A report measured before each prompt's change was kept has its pictures, and cannot be drawn anew.
        if all("change_quartiles" in part or "mean" not in part for part in found.values()):
            figures[f"control-{group}"] = control_figure(control, group)
    PICTURES.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playing:
        browser = playing.chromium.launch(
            executable_path=CHROMIUM if CHROMIUM.exists() else None, args=QUIET
        )
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
