"""Is the control real? What setting a group to 0, 25, 50, 75 and 100% does to that group's own property.

text groups     (the group whose experts are readers: "audience") answers are generated; properties are their reading
                grade (Flesch–Kincaid, by textstat) and the share of second-person words in them, each the mean over a
                prompt's answers: the grade of a single one of a few sentences is chance for a good part
other groups    the mean log-probability of the reference answer, with the expert of the answer's label at 100% of its
                group

Two doses are told apart: the *group's* share of each layer, with the expert at 100% inside it; and the *expert's* share
inside its group, with the group's share left to the router. For every prompt: Spearman's rank correlation of dose and
property, and whether the five values are monotone within noise.
"""

from __future__ import annotations

import random
import re
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace

import pandas as pd
from tqdm import tqdm

from atmoe.answer.sampling import Sampling
from atmoe.data import Example
from atmoe.errors import DataError
from atmoe.explanation.response import DOSES
from atmoe.model import AtMoe
from atmoe.steering.overrides import Override, State, Steering
from atmoe.study.reading import grade, whole_sentences

SECOND_PERSON = re.compile(r"\b(?:you|your|yours|yourself|yourselves)\b", re.IGNORECASE)
GRADE_NOISE, PERSON_NOISE = 1.0, 0.01
"""What counts as level between two doses: one school grade, one word in a hundred."""
NOISE_ERRORS = 1.645
"""A step of the log-probability goes against the dose where it does so by more than this many standard errors of its
mean over the answer's tokens: one-sided, 95%."""


def second_person(text: str) -> float:
    """The share of words that are "you", "your" and their like, 0 to 1."""
    return len(SECOND_PERSON.findall(text)) / max(len(text.split()), 1)


def steering_for(target: str, dose: float, by: str) -> Steering:
    """target: group/expert.  by: "group" (the group's share, the expert alone in it) or "expert" (its share inside)."""
    group = target.partition("/")[0]
    if by == "expert":
        return Steering((Override(target, State.FIXED, dose),))
    return Steering((Override(group, State.FIXED, dose), Override(target, State.FIXED, 1.0)))


def spearman(doses: Sequence[float], values: Sequence[float]) -> float:
    """Rank correlation; 0 where the values do not differ."""
    result = pd.Series(doses).rank().corr(pd.Series(values).rank())
    return 0.0 if pd.isna(result) else float(result)


def monotone(values: Sequence[float], noise: Sequence[float], sign: int) -> bool:
    """Whether no step goes against `sign` by more than its noise."""
    return all(sign * (b - a) >= -n for a, b, n in zip(values, values[1:], noise))


def _ways(model: AtMoe, group: str) -> tuple[str, ...]:
    """Whose share can be dosed: a group that is alone, or an expert alone in its group, always has all of it."""
    several = len(dict(model.layout.groups)[group]) > 1
    return (("group",) if len(model.layout.groups) > 1 else ()) + (("expert",) if several else ())


def sample(examples: Sequence[Example], group: str, count: int, seed: int) -> list[Example]:
    """`count` examples with a label in `group`, of different diseases, evenly from its experts.

    Raises:
        DataError: there is none.
    """
    rng = random.Random(seed)
    by_expert: dict[str, list[Example]] = {}
    for e in examples:
        if group in e.labels:
            by_expert.setdefault(e.labels[group], []).append(e)
    if not by_expert:
        raise DataError(f"No example has a label in the group {group!r}.")
    queues = [rng.sample(by_expert[k], len(by_expert[k])) for k in sorted(by_expert)]
    kept: dict[str, Example] = {}
    while len(kept) < count and any(queues):
        for queue in queues:
            if queue and len(kept) < count:
                e = queue.pop()
                kept.setdefault(e.disease, e)
    return list(kept.values())


def reference_response(model: AtMoe, examples: Sequence[Example], group: str, by: str) -> dict:
    """Dose–response of the reference answer's log-probability. → see `_summary`"""
    curves, noises = [], []
    for e in tqdm(examples, desc=f"{group}, {by}'s share", mininterval=5):
        plan, target = model.route(e.prompt), f"{group}/{e.labels[group]}"
        logp = model.score(
            e.prompt, e.answer, [steering_for(target, dose, by).apply(plan) for dose in DOSES]
        )
        step = logp.diff(dim=0)  # paired, token by token
        noises.append((NOISE_ERRORS * step.std(1) / step.shape[1] ** 0.5).nan_to_num(0.0).tolist())
        curves.append(logp.mean(1).tolist())
    return _summary(curves, noises, +1)


def generated_response(
    model: AtMoe,
    examples: Sequence[Example],
    target: str,
    by: str,
    sampling: Sampling,
    batch: int,
    answers: int = 1,
) -> dict[str, list[list[float]]]:
    """Properties of generated answers, dose by dose, means over as many answers, of one seed each.
    → {"grade", "second_person": [prompts][doses]}
    """
    texts: list[list[list[str]]] = [[[] for _ in DOSES] for _ in examples]
    plans = [model.route(e.prompt) for e in examples]
    order = sorted(range(len(examples)), key=lambda i: len(examples[i].prompt))
    draws = [
        (at, replace(sampling, seed=sampling.seed + n))
        for at in range(len(DOSES))
        for n in range(answers)
    ]
    for at, drawn in tqdm(draws, desc=f"{target}, {by}'s share", mininterval=5):
        steering = steering_for(target, DOSES[at], by)
        for start in range(0, len(order), batch):
            rows = order[start : start + batch]
            *_, last = model.generate(
                [examples[i].prompt for i in rows], [steering.apply(plans[i]) for i in rows], drawn
            )
            for i, text in zip(rows, last.texts):
                texts[i][at].append(whole_sentences(text))
    return {
        name: [
            [statistics.mean(map(measure, of_dose)) for of_dose in of_prompt] for of_prompt in texts
        ]
        for name, measure in (("grade", grade), ("second_person", second_person))
    }


def wrong_expert(model: AtMoe, examples: Sequence[Example], group: str) -> dict:
    """Each wrong expert of a group at 100% of it, beside the right one and beside the router.

    → {"pairs", "worse_than_right", "worse_than_router": fraction of (prompt, wrong expert) pairs,
       "prompts", "mean_worse_than_right", "mean_worse_than_router": fraction of prompts, mean over the wrong experts}
    """
    experts = dict(model.layout.groups)[group]
    rows = []
    for e in tqdm(examples, desc=f"wrong expert of {group}", mininterval=5):
        plan = model.route(e.prompt)
        names = [e.labels[group], *(x for x in experts if x != e.labels[group])]
        plans = [
            plan,
            *(steering_for(f"{group}/{name}", 1.0, "expert").apply(plan) for name in names),
        ]
        rows.append(model.score(e.prompt, e.answer, plans).mean(1).tolist())
    pairs = [(router, right, x) for router, right, *wrong in rows for x in wrong]
    mean = lambda values: sum(values) / len(values)
    return {
        "pairs": len(pairs),
        "worse_than_right": mean([x < right for _, right, x in pairs]),
        "worse_than_router": mean([x < router for router, _, x in pairs]),
        "prompts": len(rows),
        "mean_worse_than_right": mean([mean(wrong) < right for _, right, *wrong in rows]),
        "mean_worse_than_router": mean([mean(wrong) < router for router, _, *wrong in rows]),
    }


def study(
    model: AtMoe,
    examples: Sequence[Example],
    text_group: str = "audience",
    low: str = "patient",
    high: str = "professional",
    count: int = 40,
    seed: int = 0,
    sampling: Sampling | None = None,
    batch: int = 40,
    answers: int = 1,
    progress: Callable[[dict], None] = lambda report: None,
) -> dict:
    """See the module. text_group's expert `low` should read more easily, and speak to the reader more, than `high`.

    sampling, answers: of the generated text; by default the likeliest answer, or several at temperature 0.7.
    progress: called with what has been measured so far, after each part.
    → {"doses", "prompts", "answers", "groups": {group: {"group": summary, "expert": summary}}, "contrast", "wrong", "seconds"}
    """
    began = time.perf_counter()
    sampling = sampling or Sampling(120, 0.7 if answers > 1 else 0.0, repetition_penalty=1.1)
    report: dict = {
        "doses": list(DOSES),
        "prompts": count,
        "answers": answers,
        "sampling": asdict(sampling),
        "groups": {},
        "wrong": {},
    }
    main = model.layout.group_names[0]
    for group in model.layout.group_names:
        ways = _ways(model, group)
        if group != text_group and ways and any(group in e.labels for e in examples):
            chosen = sample(examples, group, count, seed)
            report["groups"][group] = {
                by: reference_response(model, chosen, group, by) for by in ways
            }
            if "expert" in ways:
                report["wrong"][group] = wrong_expert(model, chosen, group)
        progress(report)
    if text_group in model.layout.group_names and (ways := _ways(model, text_group)):
        # Questions alone: a dialogue or an abstract settles for whom one writes.
        asked = sample([e for e in examples if not e.material], main, count, seed)
        found, ends = report["groups"].setdefault(text_group, {}), {}
        for expert, sign in ((low, +1), (high, -1)):
            for by in ways:
                values = generated_response(
                    model, asked, f"{text_group}/{expert}", by, sampling, batch, answers
                )
                level = lambda noise: [[noise] * (len(DOSES) - 1)] * len(asked)
                found[f"{by}:{expert}"] = {
                    "grade": _summary(values["grade"], level(GRADE_NOISE), -sign),
                    "second_person": _summary(values["second_person"], level(PERSON_NOISE), sign),
                }
                ends[by, expert] = [row[-1] for row in values["grade"]]
                progress(report)
        report["contrast"] = {
            by: {
                "prompts": len(asked),
                f"{low}_reads_easier": sum(a < b for a, b in zip(ends[by, low], ends[by, high]))
                / len(asked),
                f"median_grade_{low}": statistics.median(ends[by, low]),
                f"median_grade_{high}": statistics.median(ends[by, high]),
            }
            for by in ways
        }
    return report | {"seconds": round(time.perf_counter() - began, 1)}


def _summary(curves: list[list[float]], noises: list[list[float]], sign: int) -> dict:
    """→ {"prompts", "mean": by dose, "quartiles": [[25%, 75%] by dose], "change_quartiles": the same of each prompt's change
    since dose 0, "median_spearman" (1 = as intended), "monotone": fraction}
    """
    table = pd.DataFrame(curves)
    quartiles = lambda t: t.quantile([0.25, 0.75]).T.to_numpy().tolist()
    return {
        "prompts": len(curves),
        "mean": table.mean().tolist(),
        "quartiles": quartiles(table),
        "change_quartiles": quartiles(table.sub(table[0], axis=0)),
        "median_spearman": statistics.median(sign * spearman(DOSES, row) for row in curves),
        "monotone": sum(monotone(row, noise, sign) for row, noise in zip(curves, noises))
        / len(curves),
    }
