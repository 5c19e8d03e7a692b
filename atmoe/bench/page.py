"""How fast the page decodes: somebody alone, and several people, in the batch that all share.

Not through HTTP, so that Gradio and a browser are not timed along.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

from atmoe.answer.batching import MOST_ROWS, Batching
from atmoe.answer.sampling import Sampling
from atmoe.bench import scale
from atmoe.bench.scale import in_turns, over
from atmoe.explanation.coherence import SAMPLING
from atmoe.mixture.precision import best, usable
from atmoe.model import AtMoe
from atmoe.steering.overrides import Override, State, Steering

FEW = 3
"""So many questions are answered steered, each as often as there are groups."""


def page_speed(model: AtMoe, questions: Sequence[str], tokens: int) -> float:
    """Tokens a second of all questions together, in rows of the page's batch."""
    with closing(Batching(model, max(len(questions), MOST_ROWS))) as batch:
        batch.warm()
        for question in questions:
            batch.add(question, None, Sampling(tokens))
        batch.step()  # what is done once an answer
        made, began = 0, scale.now()
        while batch.rows:
            made += len(batch.rows)
            batch.step()
        return made / (scale.now() - began)


def steered_speed(
    model: AtMoe, questions: Sequence[str], tokens: int, answers: Sequence[Sequence[int]]
) -> float:
    """Tokens a second of steered answers, one after another.

    Each question is answered with each group at 60% in turn. Sampled as on the page: answers that
    run in circles would be easily guessed.

    Args:
        model: what answers.
        questions: of one person.
        tokens: to decode, at most.
        answers: the router's, of each question, to guess from; none = nothing is guessed.
    """
    with closing(Batching(model)) as batch:
        batch.warm()
        made, seconds = 0, 0.0
        for at, question in enumerate(questions):
            plan = batch.route(question)
            for group in model.layout.group_names:
                steered = Steering((Override(group, State.FIXED, 0.6),)).apply(plan)
                sampling = replace(SAMPLING, max_new_tokens=tokens)
                row = batch.add(question, steered, sampling, None, answers[at : at + 1])
                began = scale.now()
                for _ in row:
                    pass
                seconds += scale.now() - began
                made += row.decoded
        return made / seconds


def page(
    path: Path,
    base: str | None,
    questions: Sequence[str],
    generate: Callable[[], float],
    tokens: int,
    repeats: int,
) -> dict[str, list[float]]:
    """The page's own decoding, somebody alone and several people, in int4 and what is beside it.

    And of steered answers, with the router's to guess from and without.

    Args:
        path: where the model is saved.
        base: as for `AtMoe.from_pretrained`.
        questions: of as many people.
        generate: → tokens a second of the base through transformers.
        tokens: to decode, at most.
        repeats: of each.
    """
    plain = best()
    models = {
        name: AtMoe.from_pretrained(path, base, name, device="cpu")
        for name in usable()
        if name in (plain, "int4")
    }
    tasks: dict[str, Callable[[], float]] = {"generate": generate}
    for name, model in models.items():
        tasks[f"alone {name}"] = partial(page_speed, model, questions[:1], tokens)
        tasks[f"together {name}"] = partial(page_speed, model, questions, tokens)
        few = questions[:FEW]
        with closing(Batching(model)) as batch:
            sampling = replace(SAMPLING, max_new_tokens=tokens)
            rows = [batch.add(question, None, sampling) for question in few]
            while batch.rows:
                batch.step()
        answers = [row.tokens for row in rows]
        tasks[f"steered {name}"] = partial(steered_speed, model, few, tokens, ())
        tasks[f"guessed {name}"] = partial(steered_speed, model, few, tokens, answers)
    speeds, people = in_turns(tasks, repeats), len(questions)
    ratios = {}
    for name in models:
        alone, together = f"alone {name}", f"together {name}"
        ratios[f"page in {name} to generate"] = over(speeds, alone, "generate")
        ratios[f"page in {name}, {people} people to one"] = over(speeds, together, alone)
        guessed, steered = f"guessed {name}", f"steered {name}"
        ratios[f"page in {name}, steered, guessed to not"] = over(speeds, guessed, steered)
    if "int4" in models:
        ratios[f"page in int4 to {plain}"] = over(speeds, "alone int4", f"alone {plain}")
        ratios[f"page in int4 to {plain}, {people} people"] = over(
            speeds, "together int4", f"together {plain}"
        )
    return ratios
