"""Pictures of the page for the README:

    PYTHONPATH=.:tests python tests/tools/screenshots.py OUTDIR [--model DIR] [--only wide-light …]

Twelve moments (before asking, while streaming, steered, cells picked, each of the places, an old
answer, a refusal) in light and dark, at 1400 × 900, 1920 × 1080 and on a phone.
"""

import argparse
from pathlib import Path

from browser import ENDED, LAUNCH, Tab, drag
from playwright.sync_api import expect, sync_playwright

from app.cases import read_cases
from app.launch import launching
from app.page import build
from atmoe import AtMoe
from atmoe.mixture.precision import chosen

QUESTION = "My father has Parkinson's disease. What can be done for the tremor?"
SIZES = {"wide": (1400, 900), "large": (1920, 1080), "phone": (400, 800)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("outdir", type=Path)
    parser.add_argument("--model", default="assets/medical")
    parser.add_argument("--base")
    parser.add_argument("--tokens", type=int, default=80)
    parser.add_argument("--only", nargs="+", metavar="SIZE-SCHEME", help="such as wide-light")
    args = parser.parse_args()
    args.outdir.mkdir(parents=True, exist_ok=True)
    model = AtMoe.from_pretrained(args.model, args.base, chosen())  # as app.py does
    demo = build(
        model, Path(args.model) / "reports", read_cases(Path(args.model), model.info.sha256)
    )
    _, address, _ = demo.launch(prevent_thread_lock=True, quiet=True, **launching(model))
    with sync_playwright() as control:
        browser = control.chromium.launch(**LAUNCH)
        for scheme in ("light", "dark"):
            for name, (width, height) in SIZES.items():
                if args.only and f"{name}-{scheme}" not in args.only:
                    continue
                take(
                    Tab(browser, (address, model), width, height, color_scheme=scheme),
                    args,
                    f"{name}-{scheme}",
                )
        browser.close()
    demo.close()


def take(tab: Tab, args: argparse.Namespace, name: str) -> None:
    """The moments of one visit."""

    def shoot(moment: str) -> None:
        tab.page.screenshot(
            path=args.outdir / f"{name}-{moment}.png", full_page=name.startswith("phone")
        )

    expect(tab.page.locator("#experts-map .js-plotly-plot")).to_have_count(1)
    shoot("1-before")
    tab.tokens(args.tokens)
    tab.question.fill(QUESTION)
    tab.page.keyboard.press("Enter")
    expect(tab.page.locator("#reading")).to_contain_text("average layer")
    shoot("2-streaming")
    expect(tab.first_facts).to_contain_text(ENDED)
    narrow = name.startswith("phone")
    if narrow:
        tab.page.locator("[data-sheet]").click()
    group, experts = tab.layout.groups[-1]
    tab.segment(
        f"{group}/{experts[-1]}"
    ).click()  # the chart's voice, which the router did not take
    tab.steered()
    shoot("3-steered")
    if narrow:
        tab.page.locator("[data-sheet]").click()
    else:
        drag(tab, (0, 8), (1, 12))
        shoot("4-cells")
        tab.page.keyboard.press("Escape")
    tab.open("Why")
    expect(tab.page.locator("#why-progress")).to_have_text("Measured.")
    shoot("5-why")
    for moment, place in enumerate(("Compare", "What if", "Table", "Keep", "Help"), 6):
        tab.open(place)
        shoot(f"{moment}-{place.lower().replace(' ', '-')}")
    tab.open("Weights")
    tab.question.fill("What causes gout?")
    expect(tab.page.locator("#answer.stale, #steered.stale").first).to_be_attached()
    shoot("11-old")
    tab.question.fill("?!")
    tab.page.keyboard.press("Enter")
    expect(tab.message).to_be_visible()
    shoot("12-refused")
    tab.context.close()


if __name__ == "__main__":
    main()
