"""Two browsers steer in opposite directions at the same time.

Each must get, byte for byte, what it gets alone:

    PYTHONPATH=.:tests python tests/tools/two_browsers.py [--model DIR] [--dtype DTYPE]
        [--seconds 60] [--tokens 24]

Both move their slider, wait for their answers, and move again, until the time is up. Then every
setting is answered once more by the library with nobody beside it.
"""

import argparse
import json
import time
from contextlib import closing
from pathlib import Path

from browser import ENDED, LAUNCH, QUESTION, Tab, new
from playwright.sync_api import expect, sync_playwright

from app.launch import launching
from app.page import build
from app.view import sampling_of
from atmoe import AtMoe, Override, Sampling, State, Steering
from atmoe.answer.batching import Batching
from atmoe.mixture.precision import CHOICES, chosen

Given = tuple[str, int, str]
"""A group, its share in percent, and the answer that a browser showed."""
STEPS = (100, 0, 60, 20, 80, 40)


def opposite(tabs: list[Tab], seconds: float, tokens: int) -> list[Given]:
    """Steer both until the time is up: one the first group, the other the last.

    One goes up where the other goes down.
    """
    for tab in tabs:
        tab.ask(tokens=tokens)
    groups = tabs[0].layout.group_names[0], tabs[0].layout.group_names[-1]
    given, until, step = [], time.monotonic() + seconds, 0
    while time.monotonic() < until or step < 2:
        shares = STEPS[step % len(STEPS)], 100 - STEPS[step % len(STEPS)]
        facts = [new(tab.second_facts) for tab in tabs]
        for tab, group, share in zip(tabs, groups, shares):
            tab.share(group).evaluate(
                """(slider, share) => {
                slider.value = share;
                slider.dispatchEvent(new Event("input", { bubbles: true })); }""",
                share,
            )
        for tab, its, group, share in zip(tabs, facts, groups, shares):
            expect(its).to_contain_text(ENDED)
            given.append((group, share, tab.second.evaluate("(passage) => passage.textContent")))
        step += 1
    return given


def alone_in_a_batch(model: AtMoe, prompt: str, steering: Steering, sampling: Sampling) -> str:
    """The answer as the page decodes it, with nobody beside it."""
    with closing(Batching(model)) as batch:
        *_, last = batch.add(prompt, steering.apply(model.route(prompt)), sampling)
    return last.texts[0]


def different(model: AtMoe, given: list[Given], tokens: int) -> list[tuple[str, int, str, str]]:
    """Each answer that is not the one it is alone, as (group, share, shown, alone)."""
    alone = {
        (group, share): alone_in_a_batch(
            model,
            QUESTION,
            Steering((Override(group, State.FIXED, share / 100),)),
            sampling_of(tokens, 0, 0),
        )
        for group, share in {(group, share) for group, share, _ in given}
    }
    return [
        (group, share, shown, alone[group, share])
        for group, share, shown in given
        if shown != alone[group, share]
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=Path("assets/medical"))
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--tokens", type=int, default=24)
    parser.add_argument("--dtype", choices=CHOICES)
    args = parser.parse_args()
    model = AtMoe.from_pretrained(args.model, dtype=chosen(args.dtype))  # as app.py does
    demo = build(model)
    _, address, _ = demo.launch(prevent_thread_lock=True, quiet=True, **launching(model))
    with sync_playwright() as control:
        browser = control.chromium.launch(**LAUNCH)
        given = opposite(
            [Tab(browser, (address, model)) for _ in range(2)], args.seconds, args.tokens
        )
        browser.close()
    demo.close()
    wrong = different(model, given, args.tokens)
    print(
        json.dumps(
            {
                "seconds": args.seconds,
                "answers": len(given),
                "settings": len({one[:2] for one in given}),
                "dtype": model.precision,
                "different": wrong,
            },
            ensure_ascii=False,
        )
    )
    raise SystemExit(bool(wrong))


if __name__ == "__main__":
    main()
