"""What training logged and `bench` printed → Markdown tables. Those of evaluations: reports.py."""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

from tools.markdown import table
from tools.reports import baseline_table

from atmoe.bench.load import LEFT_SECONDS

MODEL = Path(__file__).resolve().parents[2] / "assets" / "medical"


def report(name: str) -> dict:
    """What an evaluation command printed with --json."""
    return json.loads((MODEL / "reports" / f"{name}.json").read_text("utf-8"))


def training_log(name: str) -> dict:
    """What a training command measured: of the experts or the router."""
    return json.loads((MODEL / f"{name}.log.json").read_text("utf-8"))


def rounded(number: float, digits: int) -> str:
    """A number with fewer digits; the decimal that stands in the report is rounded half up."""
    step = Decimal(1).scaleb(-digits)
    return str(Decimal(f"{number:.9g}").quantize(step, ROUND_HALF_UP))


def training_table() -> str:
    """The stages of the training."""
    experts, router, last, planner = map(training_log, ("experts", "router", "together", "planner"))
    left = last["left_out"]

    def agreement(key: str) -> str:
        parts = (f"{group} {rounded(100 * share, 1)}%" for group, share in router[key].items())
        return "agreement " + ", ".join(parts)

    rows = [
        (
            "experts",
            f"{experts['steps']}",
            f"{experts['answer_tokens']:,}",
            f"{experts['seconds']:.0f}",
            f"held-out loss under the labels' plan {experts['label']:.3f}, with the task expert "
            f"exchanged for another {experts['wrong_task']:.3f}",
        ),
        (
            "router, warm start",
            "",
            f"{router['settings']['instructions']:,} instructions",
            f"{router['warm_start_seconds']:.0f}",
            agreement("agreement_warm_start"),
        ),
        (
            "router, refinement",
            f"{router['steps']}",
            f"{router['answer_tokens']:,}",
            f"{router['seconds']:.0f}",
            agreement("agreement_refined"),
        ),
        (
            "together",
            f"{last['steps']}",
            f"{last['answer_tokens']:,}",
            f"{last['seconds']:.0f}",
            f"held-out loss under the router's plan {last['routed_unchanged']:.3f} before, and "
            f"{last['routed']:.3f} after, with groups left out; of the "
            f"{last['settings']['instructions']:,} instructions that the planner learned from, "
            + ", ".join(f"{100 * out:.0f}% without {group}" for group, out in left.items()),
        ),
        (
            "planner",
            "",
            f"{planner['settings']['instructions']:,} instructions",
            f"{planner['seconds']:.0f}",
            f"{planner['team_size']} of the experts asked for in these instructions, mean; many "
            "have two needs",
        ),
    ]
    return table(("stage", "steps", "answer tokens", "seconds", "result"), rows)


def losses_table() -> str:
    """Losses under different plans; the one LoRA's, which is no part of the model, as kept."""
    told, kept = report("evaluate"), report("evaluate-lora")
    if (told["examples"], told["tokens"]) != (kept["examples"], kept["tokens"]):
        raise ValueError("the one LoRA was measured on other answers; train and measure it again")
    return baseline_table({**told, "nll": {**kept["nll"], **told["nll"]}})


def expert_tokens() -> str:
    """How many answer tokens each expert learned from, group by group."""
    groups: dict[str, list[str]] = {}
    for name, tokens in training_log("experts")["answer_tokens_by_expert"].items():
        group, _, expert = name.partition("/")
        groups.setdefault(group, []).append(f"{expert} {tokens:,}")
    return table(
        ("group", "answer tokens"), [(group, ", ".join(parts)) for group, parts in groups.items()]
    )


@dataclass(frozen=True)
class Speed:
    """A row of the table of speeds.

    Attributes:
        what: both sides of the ratio.
        two_cores: as the command printed it there, by the clock; its report is not kept.
        one_thread: names of ratios in reports/bench.json, or a figure whose report is not kept.
        aim: our own, if there was one.
        brief: whether only medians are shown of the ratios after the first.
    """

    what: str
    two_cores: str = ""
    one_thread: tuple[str, ...] | str = ()
    aim: str = ""
    brief: bool = False


SPEEDS = (
    Speed(
        "decoding under a routed plan, against transformers' `generate` of the base alone",
        "1.83 (1.81 to 1.85)",
        aim="1.4",
    ),
    Speed(
        "the same in int8, against `generate` in bfloat16 · against our bfloat16",
        "2.58 (2.45 to 2.82) · 1.43",
        ("int8 to generate", "int8 to the model"),
        "2.2",
        brief=True,
    ),
    Speed(
        "the same in int8, against llama.cpp: the base in Q4_1, the same plan as a LoRA of rank 64",
        "1.10 (1.04 to 1.11)",
        ("int8 to llama.cpp",),
        "1.0",
    ),
    Speed("the same in bfloat16, against that", "0.82 (0.81 to 0.84)", "0.67 (0.38 to 0.69)"),
    Speed(
        "the page's own decoding in int4, somebody alone, against `generate` in bfloat16",
        "2.40 (2.37 to 2.43)",
        "2.54 (2.49 to 2.54)",
        "2.5 · 2.0",
    ),
    Speed("the same in bfloat16", "1.25 (1.21 to 1.29)", "1.26 (1.26 to 1.27)"),
    Speed(
        "eight people with eight plans in int4, against the same in bfloat16",
        "0.80 (0.77 to 0.80)",
        "0.82 (0.81 to 0.83)",
    ),
    Speed(
        "eight people with eight plans, tokens in all, against one of them: bfloat16 · int4",
        "5.15 · 2.16",
        "5.69 · 2.34",
        "6.5",
    ),
    Speed(
        "a steered answer guessed from the router's, against the same unguessed: bfloat16 · int4",
        "1.08 · 1.02",
        "1.07 · 1.04",
    ),
    Speed(
        "decoding under a routed plan of 16 experts, against PEFT with one of them",
        "2.62 (2.16 to 2.66)",
        ("routed to PEFT, one LoRA",),
    ),
    Speed(
        "the same, against PEFT with 12 of them added up",
        "8.65 (7.95 to 8.87)",
        ("routed to PEFT, 12 LoRAs",),
    ),
    Speed(
        "the same, against PEFT's X-LoRA over all 16, which keeps no cache (timed over 4 tokens)",
        "65.8 (60.6 to 65.8)",
        ("routed to PEFT X-LoRA",),
        "40",
    ),
    Speed(
        "eight rows with eight plans, tokens a second in all, against one row alone with its plan "
        "folded in",
        "4.54 (4.48 to 4.73)",
        aim="4",
    ),
    Speed(
        "reading a prompt with routing, against the base model's reading",
        "0.86 (0.82 to 0.91)",
        ("prefill routed to base",),
        "0.85",
    ),
    Speed(
        "first token of an answer steered in the last third of the layers, against a whole prefill",
        "2.11 (2.10 to 2.33)",
        ("first token steered late to whole prefill",),
        "1.7",
    ),
    Speed(
        "decoding with 64 experts against 4 · of rank 64 against 4",
        one_thread=("decode experts 64 to 4", "decode rank 64 to 4"),
        aim="0.95",
    ),
    Speed(
        "reading a prompt with 64 experts against 4 · of rank 64 against 4",
        one_thread=("prefill experts 64 to 4", "prefill rank 64 to 4"),
    ),
)


def profile_table() -> str:
    """Where the page's time goes, in percent of it."""
    heads, shares = _profiled("profile")
    parts = sorted(shares[-1], key=lambda part: -shares[-1][part])
    return table(
        ("% of the time", *heads),
        [(part, *(rounded(100 * of[part], 0) for of in shares)) for part in parts],
        numbers=len(heads),
    )


def operator_table() -> str:
    """Which of PyTorch's operators made each product."""
    heads, operators = _profiled("operators")
    return table(
        ("operators", *heads),
        [
            (part, *(", ".join(f"`{name}`" for name in of[part]) for of in operators))
            for part in operators[0]
        ],
    )


def _profiled(what: str) -> tuple[list[str], list[dict]]:
    """Of each precision's prompt and token: the column's head, and what was told of it."""
    words = {"prompt": "a prompt", "token": "one more token"}
    told = report("profile")[what]
    columns = {f"{words[s]}, {name}": of[s] for name, of in told.items() for s in of}
    return list(columns), list(columns.values())


CROWDS = (50, 200)
"""How many people at once the load reports are of."""


def loads() -> list[dict]:
    """What `bench --only load` told of each crowd."""
    return [report(f"load-{people}")["load"] for people in CROWDS]


def load_table() -> str:
    """Many people at once, over HTTP."""
    rows = []
    for told in loads():
        words, mb = told["first_words_s"], told["mb"]
        counts = (told[name] for name in ("people", "answers", "refused", "other_than_alone"))
        rows.append(
            (
                *map(str, counts),
                f"{told['out_of_order']:.1%}",
                f"{words['median']:.1f} · {words['most']:.0f}",
                f"{max(mb['each_second']):+d}",
                f"{mb['after_they_left']:+d}",
            )
        )
    heads = (
        f"people, for {loads()[0]['seconds']:g} s",
        "answers",
        "refused",
        "other than alone",
        "pairs out of order",
        "first words after, s: median · most",
        "memory at most, MB",
        f"{LEFT_SECONDS} s after they left",
    )
    return table(heads, rows, numbers=len(heads))


def speed_table() -> str:
    """Speeds as ratios; those of one thread are read from reports/bench.json."""
    ratios = report("bench")["ratios"]

    def shown(speed: Speed) -> str:
        if isinstance(speed.one_thread, str):
            return speed.one_thread
        texts = []
        for name in speed.one_thread:
            median, least, most = (ratios[name][key] for key in ("median", "least", "most"))
            digits = 1 if median >= 10 else 2
            text = rounded(median, digits)
            if not (speed.brief and texts):
                text += f" ({rounded(least, digits)} to {rounded(most, digits)})"
            texts.append(text)
        return " · ".join(texts)

    return table(
        ("times as fast", "2 cores", "one thread", "aim"),
        [(speed.what, speed.two_cores, shown(speed), speed.aim) for speed in SPEEDS],
        numbers=3,
    )
