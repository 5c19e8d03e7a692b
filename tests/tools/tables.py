"""What training logged and `bench` printed → Markdown tables. Those of evaluations: reports.py."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
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


def losses() -> dict:
    """Losses under different plans; those of trained baselines, no part of the model, as kept."""
    told, kept = report("evaluate"), report("evaluate-baselines")
    if (told["examples"], told["tokens"]) != (kept["examples"], kept["tokens"]):
        raise ValueError("the baselines were measured on other answers; measure them again")
    return {**told, "nll": {**kept["nll"], **told["nll"]}}


def losses_table() -> str:
    """The same, as a table."""
    return baseline_table(losses())


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
        names: of ratios in the reports.
        aim: our own, if there was one.
        two_cores: what those gave, where the report is not kept.
    """

    what: str
    names: tuple[str, ...]
    aim: str = ""
    two_cores: str = ""


SPEEDS = (
    Speed(
        "decoding under a routed plan, against transformers' `generate` of the base alone",
        ("routed to generate",),
        "1.4",
    ),
    Speed(
        "the same in int8, against `generate` in bfloat16 · against our bfloat16",
        ("int8 to generate", "int8 to the model"),
        "2.2",
    ),
    Speed(
        "the page's own decoding in int4, somebody alone, against `generate` in bfloat16",
        ("page in int4 to generate",),
        "2.5 · 2.0",
    ),
    Speed("the same in bfloat16", ("page in bfloat16 to generate",)),
    Speed(
        "eight people with eight plans in int4, against the same in bfloat16",
        ("page in int4 to bfloat16, 8 people",),
    ),
    Speed(
        "eight people with eight plans, tokens in all, against one of them: bfloat16 · int4",
        ("page in bfloat16, 8 people to one", "page in int4, 8 people to one"),
        "6.5",
    ),
    Speed(
        "a steered answer guessed from the router's, against the same unguessed: bfloat16 · int4",
        (
            "page in bfloat16, steered, guessed to not",
            "page in int4, steered, guessed to not",
        ),
    ),
    Speed(
        "`generate` of an answer, against its whole explanation · the search for its smallest "
        "change",
        ("writing an answer to explaining it", "writing an answer to its smallest change"),
        "2",
    ),
    Speed(
        "eight rows with eight plans, tokens a second in all, against one row alone with its plan "
        "folded in",
        ("eight rows to one",),
        "4",
    ),
    Speed(
        "reading a prompt with planner and routing, against the base model's reading",
        ("prefill routed to base",),
        "0.95",
    ),
    Speed(
        "first token of an answer steered in the last third of the layers, against a whole prefill",
        ("first token steered late to whole prefill",),
        "1.7",
    ),
)
"""Of the weights that are shipped."""

SPEEDS_BEFORE = (
    Speed(
        "decoding under a routed plan in int8, against llama.cpp: the base in Q4_1, the same plan "
        "as a LoRA of rank 64",
        ("int8 to llama.cpp",),
        "1.4 · 1.2",
        "1.10 (1.04 to 1.11)",
    ),
    Speed("the same in bfloat16", ("the model to llama.cpp",), two_cores="0.82 (0.81 to 0.84)"),
    Speed(
        "decoding under a routed plan of 16 experts, against PEFT with one of them",
        ("routed to PEFT, one LoRA",),
        two_cores="2.62 (2.16 to 2.66)",
    ),
    Speed(
        "the same, against PEFT with 12 of them added up",
        ("routed to PEFT, 12 LoRAs",),
        two_cores="8.65 (7.95 to 8.87)",
    ),
    Speed(
        "the same, against PEFT's X-LoRA over all 16, which keeps no cache (timed over 4 tokens)",
        ("routed to PEFT X-LoRA",),
        "40",
        "65.8 (60.6 to 65.8)",
    ),
    Speed(
        "decoding with 64 experts against 4 · of rank 64 against 4",
        ("decode experts 64 to 4", "decode rank 64 to 4"),
        "0.95",
    ),
    Speed(
        "reading a prompt with 64 experts against 4 · of rank 64 against 4",
        ("prefill experts 64 to 4", "prefill rank 64 to 4"),
    ),
)
"""Of weights of before, and of made-up ones."""


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
        names = ("people", "answers", "refused", "lost", "other_than_alone")
        counts = (told[name] for name in names)
        rows.append(
            (
                *map(str, counts),
                f"{told['out_of_order']:.1%}",
                f"{words['median']:.1f} · {words['most']:.0f}",
                f"{words['newcomers']:.1f} · {words['cores_allow']:.1f}",
                f"{max(mb['each_second']):+d}",
                f"{mb['after_they_left']:+d}",
            )
        )
    heads = (
        f"people, for {loads()[0]['seconds']:g} s",
        "answers",
        "refused",
        "lost",
        "other than alone",
        "pairs out of order",
        "first words after, s: median · most",
        "of everybody's first question, median · what the cores allow",
        "memory at most, MB",
        f"{LEFT_SECONDS} s after they left",
    )
    return table(heads, rows, numbers=len(heads))


def speed_table() -> str:
    """Speeds as ratios, as reports/bench-two-cores.json and reports/bench.json have them."""
    runs = [report(name)["ratios"] for name in ("bench-two-cores", "bench")]
    return _speeds((s.what, *(_ratios(run, s.names) for run in runs), s.aim) for s in SPEEDS)


def speed_before_table() -> str:
    """The same of weights of before; one thread's are those of reports/bench-before.json."""
    ratios = report("bench-before")["ratios"]
    return _speeds((s.what, s.two_cores, _ratios(ratios, s.names), s.aim) for s in SPEEDS_BEFORE)


def _speeds(rows: Iterable[Sequence[str]]) -> str:
    return table(("times as fast", "2 cores", "one thread", "aim"), list(rows), numbers=3)


def _ratios(ratios: dict, names: tuple[str, ...]) -> str:
    """Medians, least to most, of those that were measured."""
    texts = []
    for ratio in (ratios[name] for name in names if name in ratios):
        digits = 1 if ratio["median"] >= 10 else 2
        median, least, most = (rounded(ratio[k], digits) for k in ("median", "least", "most"))
        texts.append(f"{median} ({least} to {most})")
    return " · ".join(texts)
