"""How long from the last movement of a slider to the first new token on the page:

    PYTHONPATH=.:tests python tests/tools/latency.py [--model DIR] [--dtype DTYPE] [--moves 20]

One browser, one visitor, the real page: each move lands while the answer of the move before is
still streaming, eight tokens or more into it. The wait in which the controls must come to rest is
part of it. Beside it stands what reading the question once under a plan takes in the same process,
for no first token can come sooner: where the machine is busy with other things, both grow.
"""

import argparse
import json
import re
import statistics
import time
from pathlib import Path

from browser import LAUNCH, Tab
from playwright.sync_api import expect, sync_playwright

from app.launch import launching
from app.page import build
from atmoe import AtMoe
from atmoe.answer.prefill import prefill
from atmoe.mixture.precision import CHOICES, chosen

TEXT = (
    "My father is seventy-one years old and was told last week that he has Parkinson's disease. "
    "His right hand trembles at rest, he walks slowly and he sleeps badly. Which treatments are "
    "there for the tremor, what side effects should we expect from them, and when should he see a "
    "specialist again? Please explain it to us in simple words."
)
TOKENS = 60
ANSWER = 60
FIRST_TOKEN = r"""([share]) => {
  const slider = window.slider, place = document.querySelector("#second");
  slider.value = share;
  const began = performance.now();
  slider.dispatchEvent(new Event("input", { bubbles: true }));
  return new Promise((resolve) => {
    let emptied = false;
    new MutationObserver((_, observer) => {
      const passage = place.querySelector(".passage");
      if (passage?.classList.contains("told")) emptied = true;
      // A word of the abandoned answer may still arrive; it was eight tokens or more into it.
      else if (emptied && passage?.textContent.trim()
          && /\b[1-7] tokens?\b/.test(document.querySelector("#second-facts").textContent)) {
        observer.disconnect();
        resolve(performance.now() - began);
      }
    }).observe(document.querySelector("#steered"),
      { subtree: true, childList: true, characterData: true, attributes: true });
  });
}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=Path("assets/medical"))
    parser.add_argument("--moves", type=int, default=20)
    parser.add_argument("--dtype", choices=CHOICES)
    args = parser.parse_args()
    model = AtMoe.from_pretrained(args.model, dtype=chosen(args.dtype))  # as app.py does
    prompt = question(model)
    demo = build(model, args.model / "reports")
    _, address, _ = demo.launch(prevent_thread_lock=True, quiet=True, **launching(model))
    with sync_playwright() as control:
        browser = control.chromium.launch(**LAUNCH)
        tab = Tab(browser, (address, model))
        tab.ask(prompt, ANSWER)
        slider = tab.share(model.layout.group_names[0])
        slider.evaluate("(slider) => { window.slider = slider; }")
        seconds = []
        for i in range(args.moves):
            if i:
                expect(tab.second_facts).to_contain_text(re.compile(r"\b([89]|\d\d+) tokens"))
            seconds.append(tab.page.evaluate(FIRST_TOKEN, [10 + 4 * (7 * i % 20)]) / 1000)
        browser.close()
    demo.close()
    encoded, plan, alone = model.encode(prompt), model.route(prompt), []
    for _ in range(5):
        began = time.perf_counter()
        prefill(model, [encoded], [plan])
        alone.append(time.perf_counter() - began)
    low, median, high = statistics.quantiles(seconds, n=4)
    print(
        json.dumps(
            {
                "dtype": model.precision,
                "question_tokens": TOKENS,
                "moves": args.moves,
                "median_s": round(median, 3),
                "quartiles_s": [round(low, 3), round(high, 3)],
                "least_s": round(min(seconds), 3),
                "most_s": round(max(seconds), 3),
                "reading_the_question_alone_s": round(statistics.median(alone), 3),
            }
        )
    )


def question(model: AtMoe) -> str:
    """The longest question of at most `TOKENS` tokens, the chat template left out."""
    words, fitting = TEXT.split(), ""
    for n in range(1, len(words) + 1):
        start_of_text = " ".join(words[:n])
        prompt = model.encode(start_of_text)
        if prompt.end - prompt.start <= TOKENS:
            fitting = start_of_text
    return fitting


if __name__ == "__main__":
    main()
