"""How fast the page decodes: somebody alone, and several people, in the batch that all share.

Not through HTTP, so that Gradio and a browser are not timed along.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

from atmoe.answer.batching import MOST_ROWS, Batching
from atmoe.answer.sampling import Sampling
from atmoe.bench import scale
from atmoe.bench.scale import in_turns, over
from atmoe.mixture.precision import usable
from atmoe.model import AtMoe


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


def page(
    path: Path,
    base: str | None,
    questions: Sequence[str],
    generate: Callable[[], float],
    tokens: int,
    repeats: int,
) -> dict[str, list[float]]:
    """The page's own decoding, somebody alone and several people, in each quick precision.

    Args:
        path: where the model is saved.
        base: as for `AtMoe.from_pretrained`.
        questions: of as many people.
        generate: → tokens a second of the base through transformers.
        tokens: to decode, at most.
        repeats: of each.
    """
    models = {
        name: AtMoe.from_pretrained(path, base, name)
        for name in usable()
        if name in ("bfloat16", "int4")
    }
    tasks: dict[str, Callable[[], float]] = {"generate": generate}
    for name, model in models.items():
        tasks[f"alone {name}"] = partial(page_speed, model, questions[:1], tokens)
        tasks[f"together {name}"] = partial(page_speed, model, questions, tokens)
    speeds, people = in_turns(tasks, repeats), len(questions)
    ratios = {}
    for name in models:
        alone, together = f"alone {name}", f"together {name}"
        ratios[f"page in {name} to generate"] = over(speeds, alone, "generate")
        ratios[f"page in {name}, {people} people to one"] = over(speeds, together, alone)
    if "int4" in models:
        ratios["page in int4 to bfloat16"] = over(speeds, "alone int4", "alone bfloat16")
        ratios[f"page in int4 to bfloat16, {people} people"] = over(
            speeds, "together int4", "together bfloat16"
        )
    return ratios
