"""What visitors who asked and left leave behind in the page's process:

    PYTHONPATH=.:tests python tests/tools/visitors.py [--visitors 100] [--every 20]

Real tabs, one after the other: each asks, waits for the answer's end, and is closed. The process'
own memory is looked at after every so many, once it has been idle for as long as it takes to give
memory back; what the first ones left is what the page takes to be warm.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from browser import ENDED, LAUNCH, Tab
from playwright.sync_api import expect, sync_playwright

from app.worker import IDLE_SECONDS
from atmoe import AtMoe
from atmoe.bench.served import page
from atmoe.mixture.precision import CHOICES, chosen

WARM = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=Path("assets/medical"))
    parser.add_argument("--tokens", type=int, default=16)
    parser.add_argument("--dtype", choices=CHOICES)
    parser.add_argument("--visitors", type=int, default=100)
    parser.add_argument("--every", type=int, default=20)
    args = parser.parse_args()
    dtype = chosen(args.dtype)
    model = AtMoe.from_pretrained(args.model, dtype=dtype)
    seen: list[tuple[int, float]] = []
    with page(args.model, dtype) as (address, process), sync_playwright() as control:
        browser = control.chromium.launch(**LAUNCH)
        for number in range(WARM + args.visitors + 1):
            if number >= WARM and (number - WARM) % args.every == 0:
                time.sleep(2 * IDLE_SECONDS + 2)
                seen.append((number - WARM, process.memory_info().rss / 1e6))
                print(*seen[-1], file=sys.stderr)
            tab = Tab(browser, (address + "/", model))
            tab.tokens(args.tokens)
            tab.question.fill(f"How is asthma treated in patient number {number}?")
            tab.page.keyboard.press("Enter")
            expect(tab.first_facts).to_contain_text(ENDED)
            tab.context.close()
        browser.close()
    first, last = seen[0], seen[-1]
    report = {
        "dtype": dtype,
        "visitors": last[0],
        "mb_over_the_first": {str(n): round(mb - first[1], 1) for n, mb in seen},
        "kb_a_visitor": round(1000 * (last[1] - first[1]) / last[0]),
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
