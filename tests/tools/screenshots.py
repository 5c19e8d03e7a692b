"""Pictures of the page for the README:

    PYTHONPATH=.:tests python tests/tools/screenshots.py OUTDIR [--model DIR]

Each moment (before asking, while streaming, steered, a third answer beside, cells set, explained)
in light and dark, at 1400 × 900 and on a phone.
"""

import argparse
from pathlib import Path

from browser import CHROMIUM, ENDED, QUIET, Tab
from playwright.sync_api import expect, sync_playwright

from app.page import LAUNCH, build
from atmoe import AtMoe
from atmoe.mixture.precision import chosen

QUESTION = "My father has Parkinson's disease. What can be done for the tremor?"
SIZES = {"wide": (1400, 900), "phone": (400, 860)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("outdir", type=Path)
    parser.add_argument("--model", default="assets/medical")
    parser.add_argument("--base")
    parser.add_argument("--tokens", type=int, default=80)
    args = parser.parse_args()
    args.outdir.mkdir(parents=True, exist_ok=True)
    model = AtMoe.from_pretrained(args.model, args.base, chosen())  # as app.py does
    demo = build(model, Path(args.model) / "reports")
    _, address, _ = demo.launch(prevent_thread_lock=True, quiet=True, **LAUNCH)
    with sync_playwright() as control:
        browser = control.chromium.launch(
            executable_path=CHROMIUM if CHROMIUM.exists() else None, args=QUIET
        )
        for scheme in ("light", "dark"):
            for name, (width, height) in SIZES.items():
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

    expect(tab.page.locator(".js-plotly-plot").last).to_be_visible()
    shoot("1-before")
    tab.tokens(args.tokens)
    tab.question.fill(QUESTION)
    tab.page.keyboard.press("Enter")
    expect(tab.page.locator("#reading")).to_contain_text("average layer")
    shoot("2-streaming")
    expect(tab.first_facts).to_contain_text(ENDED)
    tab.press(tab.layout.group_names[-1], "End", *["ArrowLeft"] * 20)
    tab.steered()
    expect(tab.page.locator("#weights")).to_contain_text("fixed")
    shoot("3-steered")
    tab.page.get_by_role("button", name="Answer beside").click()
    expect(tab.page.locator("#third-facts")).to_contain_text(ENDED)
    expect(tab.page.locator("#comparison tbody tr")).to_have_count(3)
    grid = tab.page.locator("#group-plot [role=grid]")
    grid.locator("[tabindex='0']").focus()
    for key in ("ArrowRight", "ArrowRight", "Space", *["Shift+ArrowRight"] * 5, "Shift+ArrowDown"):
        tab.page.keyboard.press(key)
    tab.page.locator("#weights").scroll_into_view_if_needed()
    shoot("4-cells")
    if not name.startswith("phone"):
        tab.page.screenshot(path=args.outdir / f"{name}-5-whole.png", full_page=True)
    expect(tab.page.locator("#why-progress")).to_have_text("Measured.")
    tab.page.locator("#tabs").screenshot(path=args.outdir / f"{name}-6-why.png")
    tab.context.close()


if __name__ == "__main__":
    main()
