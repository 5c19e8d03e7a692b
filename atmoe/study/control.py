"""Is the control real? What setting a group to 0, 25, 50, 75 and 100% does to its own property.

text groups     (the group whose experts are readers: "audience") answers are generated; properties
                are their reading grade (Flesch–Kincaid, by textstat) and the share of second-person
                words in them, each the mean over a prompt's answers: the grade of a single one of a
                few sentences is chance for a good part. How lists are counted, and since when:
                `atmoe.study.reading`. Both are for English: of a model that learned from another
                language no group is a text group
other groups    the mean log-probability of the reference answer, with the expert of the answer's
                label at 100% of its group

Two doses are told apart: the *group's* share of each layer, with the expert at 100% inside it; and
the *expert's* share inside its group, with the group's share left to the router. Where that group
takes no part in the router's plan, it has no share at dose 0, and at each dose above 0 the same, at
which the expert calls it in (`atmoe.steering.overrides`; of three groups a third): the step from 0
to 25% is then mostly the group's coming in. For every prompt: Spearman's rank correlation of dose
and property, and whether the five values are monotone within noise.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import pandas as pd
from tqdm import tqdm

from atmoe.answer.sampling import Sampling
from atmoe.data import Example
from atmoe.errors import DataError
from atmoe.explanation.response import DOSES
from atmoe.model import AtMoe
from atmoe.steering.overrides import Override, State, Steering
from atmoe.study.reading import ENGLISH, grade_of, second_person, whole_sentences

TEXT_GROUP = "audience"
GRADE_NOISE, PERSON_NOISE = 1.0, 0.01
"""What counts as level between two doses: one school grade, one word in a hundred."""
NOISE_ERRORS = 1.645
"""A step of the log-probability goes against the dose where it does so by more than this many
standard errors of its mean over the answer's tokens: one-sided, 95%."""


def steering_for(target: str, dose: float, by: str) -> Steering:
    """The steering that gives a dose.

    Args:
        target: group/expert.
        dose: a share, 0 to 1.
        by: whose share it is: "group" (the expert alone in it) or "expert" (inside its group).
    """
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
    """Whose share can be dosed, "group" or "expert" or both.

    A group that is alone, or an expert alone in its group, always has all of it.
    """
    ways = []
    if len(model.layout.groups) > 1:
        ways.append("group")
    if len(dict(model.layout.groups)[group]) > 1:
        ways.append("expert")
    return tuple(ways)


def sample(examples: Sequence[Example], group: str, count: int, seed: int) -> list[Example]:
    """`count` examples with a label in `group`, of different diseases, evenly from its experts.

    Raises:
        DataError: there is none.
    """
    rng = random.Random(seed)
    by_expert: dict[str, list[Example]] = {}
    for example in examples:
        if group in example.labels:
            by_expert.setdefault(example.labels[group], []).append(example)
    if not by_expert:
        raise DataError(f"No example has a label in the group {group!r}.")
    queues = [rng.sample(by_expert[expert], len(by_expert[expert])) for expert in sorted(by_expert)]
    by_disease: dict[str, Example] = {}
    while len(by_disease) < count and any(queues):
        for queue in queues:
            if queue and len(by_disease) < count:
                example = queue.pop()
                by_disease.setdefault(example.disease, example)
    return list(by_disease.values())


def reference_response(
    model: AtMoe, examples: Sequence[Example], group: str, by: str
) -> dict[str, Any]:
    """Dose and response of the reference answer's log-probability.

    Args:
        model: to be studied.
        examples: each with a label in the group.
        group: whose labelled expert is dosed.
        by: whose share is the dose, "group" or "expert".

    Returns:
        What `_summary` says of the mean log-probabilities per token, in nats.
    """
    curves, noises = [], []
    for example in tqdm(examples, desc=f"{group}, {by}'s share", mininterval=5):
        plan, target = model.route(example.prompt), f"{group}/{example.labels[group]}"
        plans = [steering_for(target, dose, by).apply(plan) for dose in DOSES]
        logp = model.score(example.prompt, example.answer, plans)  # [5 doses, answer tokens]
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
) -> dict[str, list[list[float | None]]]:
    """Properties of generated answers, dose by dose.

    Args:
        model: to be studied.
        examples: whose prompts are answered.
        target: group/expert.
        by: whose share is the dose, "group" or "expert".
        sampling: of the answers.
        batch: how many prompts are answered at once.
        answers: how many each prompt gets at each dose, of one seed each, from `sampling.seed` up.

    Returns:
        "grade", "second_person": [prompts][doses], the mean over a prompt's answers at that dose; a
        grade is None where none of them has one, being empty or in other letters.
    """
    texts: list[list[list[str]]] = [[[] for _ in DOSES] for _ in examples]
    plans = [model.route(example.prompt) for example in examples]
    order = sorted(range(len(examples)), key=lambda i: len(examples[i].prompt))
    draws = [
        (at, replace(sampling, seed=sampling.seed + n))
        for at in range(len(DOSES))
        for n in range(answers)
    ]
    for at, seeded in tqdm(draws, desc=f"{target}, {by}'s share", mininterval=5):
        steering = steering_for(target, DOSES[at], by)
        for start in range(0, len(order), batch):
            rows = order[start : start + batch]
            prompts = [examples[i].prompt for i in rows]
            steered = [steering.apply(plans[i]) for i in rows]
            last = model.generate(prompts, steered, seeded).run()
            for i, text in zip(rows, last.texts):
                texts[i][at].append(text)
    return {
        "grade": [[_mean_of(grade_of, of_dose) for of_dose in of_prompt] for of_prompt in texts],
        "second_person": [
            [_mean_of(_second_person, of_dose) for of_dose in of_prompt] for of_prompt in texts
        ],
    }


def _second_person(text: str) -> float:
    return second_person(whole_sentences(text))


def _mean_of(measure: Callable[[str], float | None], texts: Sequence[str]) -> float | None:
    """Over the texts that can be measured; None where none can."""
    values = [value for value in map(measure, texts) if value is not None]
    return statistics.mean(values) if values else None


def wrong_expert(model: AtMoe, examples: Sequence[Example], group: str) -> dict[str, Any]:
    """Each wrong expert of a group at 100% of it, beside the right one and beside the router.

    Of two needs, the first's expert is the right one, and the second's is no wrong one.

    Returns:
        "pairs": how many of (prompt, wrong expert).
        "worse_than_right", "worse_than_router": the fraction of pairs in which the reference answer
            is less likely under the wrong expert.
        "prompts": how many.
        "mean_worse_than_right", "mean_worse_than_router": the fraction of prompts in which it is
            so of the mean over the wrong experts.
    """
    experts = dict(model.layout.groups)[group]
    rows = []
    for example in tqdm(examples, desc=f"wrong expert of {group}", mininterval=5):
        plan, right = model.route(example.prompt), example.labels[group]
        plans = [plan]
        wrong = [expert for expert in experts if expert not in example.wanted(group)]
        for name in (right, *wrong):
            plans.append(steering_for(f"{group}/{name}", 1.0, "expert").apply(plan))
        rows.append(model.score(example.prompt, example.answer, plans).mean(1).tolist())
    pairs = [(router, right, wrong) for router, right, *others in rows for wrong in others]
    return {
        "pairs": len(pairs),
        "worse_than_right": _mean([wrong < right for _, right, wrong in pairs]),
        "worse_than_router": _mean([wrong < router for router, _, wrong in pairs]),
        "prompts": len(rows),
        "mean_worse_than_right": _mean([_mean(others) < right for _, right, *others in rows]),
        "mean_worse_than_router": _mean([_mean(others) < router for router, _, *others in rows]),
    }


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def study(
    model: AtMoe,
    examples: Sequence[Example],
    text_group: str | None = None,
    low: str = "patient",
    high: str = "professional",
    count: int = 40,
    seed: int = 0,
    sampling: Sampling | None = None,
    batch: int = 40,
    answers: int = 1,
    progress: Callable[[dict[str, Any]], None] = lambda report: None,
) -> dict[str, Any]:
    """Dose and response of every group of a model.

    Args:
        model: to be studied.
        examples: with labels and reference answers; of those of two needs in a group, no reference
            answer is scored for that group.
        text_group: the group that is measured in generated text; None = TEXT_GROUP, where the
            model has it and learned from English.
        low: its expert that should read more easily, and speak to the reader more, than `high`.
        high: another of its experts.
        count: prompts a group.
        seed: of what is drawn.
        sampling: of the generated text; by default the likeliest answer, or several at temperature
            0.7.
        batch: how many prompts are answered at once.
        answers: generated for a prompt at each dose.
        progress: called with what has been measured so far, after each part.

    Returns:
        "doses", "answers", "sampling", "seconds".
        "prompts": how many the group with the most was measured on; each summary has its own.
        "groups": group → {"group": summary, "expert": summary} as `reference_response`; for the
            text group {"group:low", …: {"grade": summary, "second_person": summary}}.
        "wrong": group → as `wrong_expert`.
        "contrast": whose share → how `low` and `high` at 100% of it read, beside each other.
        A prompt with a dose at which no answer can be graded is in none of the text group's; where
        that is all prompts, there are none.

    Raises:
        DataError: no example has a label that is needed, or the model has no such group or expert;
            a group is to be measured in generated text that is not English.
    """
    began = time.perf_counter()
    readers = dict(model.layout.groups).get(text_group or TEXT_GROUP)
    if text_group and readers is None:
        raise DataError(
            f"The model has no group {text_group!r} to measure in generated text; its groups are "
            f"{', '.join(model.layout.group_names)}."
        )
    if model.info.language != ENGLISH:
        if text_group:
            language = repr(model.info.language) if model.info.language else "not said"
            raise DataError(
                f"The language that the model learned from is {language}, and how a text reads is "
                f'measured in English alone; write "language": "en" in its atmoe.json if it is '
                f"that, or name no text group and no readers."
            )
        readers = None
    text_group = (text_group or TEXT_GROUP) if readers else None
    for name in (low, high):
        if readers is not None and name not in readers:
            raise DataError(
                f"The group {text_group!r} has no expert {name!r} to read for; its experts are "
                f"{', '.join(readers)}."
            )
    sampling = sampling or Sampling(120, 0.7 if answers > 1 else 0.0, repetition_penalty=1.1)
    report: dict[str, Any] = {
        "doses": list(DOSES),
        "prompts": 0,
        "answers": answers,
        "sampling": asdict(sampling),
        "groups": {},
        "wrong": {},
    }
    # 1. other groups: how likely is the reference answer?
    for group in model.layout.group_names:
        ways = _ways(model, group)
        # of two needs no expert alone is the right one
        single = [e for e in examples if len(e.wanted(group)) == 1]
        if group != text_group and ways and single:
            chosen = sample(single, group, count, seed)
            report["prompts"] = max(report["prompts"], len(chosen))
            report["groups"][group] = {
                by: reference_response(model, chosen, group, by) for by in ways
            }
            if "expert" in ways:
                report["wrong"][group] = wrong_expert(model, chosen, group)
        progress(report)

    # 2. the text group: how does the answer read?
    ways = _ways(model, text_group) if text_group else ()
    if text_group and ways:
        # Questions alone: a dialogue or an abstract settles for whom one writes.
        questions = [example for example in examples if not example.material]
        asked = sample(questions, model.layout.group_names[0], count, seed)
        report["prompts"] = max(report["prompts"], len(asked))
        summaries = report["groups"].setdefault(text_group, {})
        grades: dict[tuple[str, str], list[float | None]] = {}
        for expert, sign in ((low, +1), (high, -1)):
            for by in ways:
                values = generated_response(
                    model, asked, f"{text_group}/{expert}", by, sampling, batch, answers
                )
                grades[by, expert] = [row[-1] for row in values["grade"]]
                graded, person = _graded(values)
                if graded:
                    summaries[f"{by}:{expert}"] = {
                        "grade": _summary(graded, _level(GRADE_NOISE, graded), -sign),
                        "second_person": _summary(person, _level(PERSON_NOISE, person), sign),
                    }
                progress(report)
        report["contrast"] = {}
        for by in ways:
            both = zip(grades[by, low], grades[by, high])
            pairs = [(a, b) for a, b in both if a is not None and b is not None]
            if pairs:
                report["contrast"][by] = {
                    "prompts": len(pairs),
                    f"{low}_reads_easier": sum(a < b for a, b in pairs) / len(pairs),
                    f"median_grade_{low}": statistics.median(a for a, _ in pairs),
                    f"median_grade_{high}": statistics.median(b for _, b in pairs),
                }
    return report | {"seconds": round(time.perf_counter() - began, 1)}


def _graded(
    values: Mapping[str, Sequence[Sequence[float | None]]],
) -> tuple[list[list[float]], list[list[float]]]:
    """Grades and second-person words [prompts][doses] of the prompts graded at every dose."""
    grades, person = [], []
    for row, beside in zip(values["grade"], values["second_person"]):
        if None not in row:
            grades.append([x for x in row if x is not None])
            person.append([x for x in beside if x is not None])
    return grades, person


def _level(noise: float, curves: Sequence[Sequence[float]]) -> list[list[float]]:
    """The same noise for every step between two doses [prompts][steps]."""
    return [[noise] * (len(DOSES) - 1)] * len(curves)


def _summary(
    curves: Sequence[Sequence[float]], noises: Sequence[Sequence[float]], sign: int
) -> dict[str, Any]:
    """What is said of a property's curves.

    Args:
        curves: [prompts][doses].
        noises: [prompts][steps], what counts as level between two doses.
        sign: +1 where the property should grow with the dose, −1 where it should shrink.

    Returns:
        "prompts": how many.
        "mean": by dose.
        "quartiles": [25%, 75%] by dose.
        "change_quartiles": the same of each prompt's change since dose 0.
        "median_spearman": 1 = as intended.
        "monotone": the fraction of prompts.
    """
    table = pd.DataFrame(curves)
    in_order = [monotone(curve, noise, sign) for curve, noise in zip(curves, noises)]
    return {
        "prompts": len(curves),
        "mean": table.mean().tolist(),
        "quartiles": _quartiles(table),
        "change_quartiles": _quartiles(table.sub(table[0], axis=0)),
        "median_spearman": statistics.median(sign * spearman(DOSES, curve) for curve in curves),
        "monotone": sum(in_order) / len(curves),
    }


def _quartiles(table: pd.DataFrame) -> list[list[float]]:
    """[25%, 75%] of each column."""
    return table.quantile([0.25, 0.75]).T.to_numpy().tolist()
