"""A downloaded record, opened again: what it restores, and whether the answer made now is the one that it holds."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import takewhile

from app.steer.controls import Controls, of_steering
from app.steer.view import sampling_of
from atmoe import AtMoeError, Layout, Record, Sampling
from atmoe.explanation.doses import targets
from atmoe.steering.reference import Beside

NO_RECORD = (
    "This file is no record of this page; choose one that “Download this record” saved, unedited."
)


@dataclass(frozen=True)
class Replay:
    """What a file holds.  steered: None where nothing was steered.  beside: the third answer and its kind, where there was one."""

    router: Record
    steered: Record | None
    controls: Controls
    sampling: Sampling
    beside: tuple[Beside, Record] | None = None


def opened(text: str, layout: Layout) -> Replay:
    """Read what the page's download saved.

    Raises:
        AtMoeError: not such a file, or of a model with other groups, experts or layers.
    """
    try:
        data = json.loads(text)
        router = Record.from_dict(data["router"])
        steered = None if data["steered"] is None else Record.from_dict(data["steered"])
        if router.plan.layout != layout:
            raise AtMoeError(
                "This record was made by a model with other groups, experts or layers; open it with that model."
            )
        controls = Controls.from_dict(data["controls"], layout)
        if (
            steered is not None and steered.steering != controls.steering
        ):  # locks are gone, the answer counts
            controls = of_steering(steered.steering, layout)
        sampling = Sampling(seed=router.seed, **router.sampling)
        sampling_of(sampling.max_new_tokens, sampling.temperature, sampling.seed)
        if steered is not None and (steered.prompt, steered.seed, steered.sampling) != (
            router.prompt,
            router.seed,
            router.sampling,
        ):
            raise AtMoeError(NO_RECORD)
        beside = (
            None
            if data.get("beside") is None
            else (Beside(data["beside"]["kind"]), Record.from_dict(data["beside"]["record"]))
        )
        if beside is not None and (beside[1].prompt, beside[1].plan.layout) != (
            router.prompt,
            layout,
        ):
            raise AtMoeError(NO_RECORD)
        if router.response is not None and router.response.target not in targets(layout):
            raise AtMoeError(NO_RECORD)
        if not all(
            isinstance(text, str)
            for record in (router, steered, beside and beside[1])
            if record
            for text in (record.prompt, record.answer)
        ):
            raise AtMoeError(NO_RECORD)
    except AtMoeError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise AtMoeError(NO_RECORD) from error
    return Replay(router, steered, controls, sampling, beside)


def told(name: str, then: Record, now: Record) -> str:
    """Whether an answer came out as its record has it, or how it differs; and what else is not as it was."""
    if now.finish == "cancelled":
        return f"{name} was stopped before its end, so it cannot be compared with its record."
    tokens = now.answer_tokens
    if then.finish == "cancelled":
        tokens = tokens[: len(then.answer_tokens)]
    identical = tokens == then.answer_tokens
    if identical:
        said = f"{name} came out identical, token by token"
        said += " as far as the record goes: it was stopped there" * (then.finish == "cancelled")
    else:
        words = then.answer.split(), now.answer.split()
        same = len(list(takewhile(lambda pair: pair[0] == pair[1], zip(*words))))
        there, here = (f"“{some[same]}”" if same < len(some) else "its end" for some in words)
        said = (
            f"{name} differs: after {same} equal word{'s' * (same != 1)} the record has {there}, this one {here}. The shares of "
            f"weight differ by up to {100 * _farthest(then, now):.2g} points"
        )
    changes = _changes(then, now, identical)
    return f"{said}. " + (
        "Not as it was: " + "; ".join(changes) + "."
        if changes
        else f"Model, base, seed {then.seed}, library versions and precision are as they were."
    )


def _farthest(then: Record, now: Record) -> float:
    return float((then.plan.weights - now.plan.weights).abs().max())


def _changes(then: Record, now: Record, identical: bool) -> list[str]:
    """Each thing that made the answer and is another now. Which form of the engine decoded depends on who else was there:
    it is told only where it may be why the answer differs.
    """
    changes = [
        f"the {what} (sha256 {_short(before)} then, {_short(after)} now)"
        for what, before, after in (("model", then.model, now.model), ("base", then.base, now.base))
        if before.get("sha256") != after.get("sha256")
    ]
    names = sorted({*then.versions, *now.versions} - ({"engine"} if identical else set()))
    return changes + [
        f"{'the precision' if name == 'dtype' else name} ({then.versions.get(name, 'not told')} then, "
        f"{now.versions.get(name, 'not told')} now)"
        for name in names
        if then.versions.get(name) != now.versions.get(name)
    ]


def _short(made_by) -> str:
    return str(made_by.get("sha256", "not told"))[:12]
