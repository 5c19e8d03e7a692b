"""A downloaded record, opened again.

What it restores, and whether the answer made now is the one that it holds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any

from app.controls import Controls, of_steering
from app.view import sampling_of
from atmoe import AtMoeError, Layout, Record, Sampling
from atmoe.explanation.doses import targets
from atmoe.record import FROM_LINK
from atmoe.schema import MOST_BYTES
from atmoe.steering.reference import Beside
from atmoe.study.reading import are_words
from atmoe.wording import count

NO_RECORD = (
    "This file is no record of this page; choose one that “Download this record” saved, unedited."
)
UNKNOWN = "not told"
TITLES = {"dtype": "the precision", "computed_in": "what all but the base's weights are in"}


@dataclass(frozen=True)
class Replay:
    """What a file holds.

    Attributes:
        steered: None where nothing was steered.
        beside: the third answer and its kind, where there was one.
    """

    router: Record
    steered: Record | None
    controls: Controls
    sampling: Sampling
    beside: tuple[Beside, Record] | None = None


@dataclass(frozen=True)
class Foreign:
    """The records of a file that another model made: to be read, and not to be answered again.

    Attributes:
        steered: None where nothing was steered.
    """

    router: Record
    steered: Record | None

    @property
    def sentence(self) -> str:
        """Which model it was, and what that means."""
        model, base = self.router.model, self.router.base
        return (
            f"This record was made by the model “{model['name']}” (sha256 {_short(model)}) on "
            f"{base['name']}, not by this one: it is shown as it stands, and not answered again. "
            "To have it answered, open it with that model."
        )


def opened(text: str, layout: Layout, sha256: str) -> Replay | Foreign:
    """Read what the page's download saved.

    Args:
        text: the file's.
        layout: of the model here.
        sha256: of the model here.

    Raises:
        AtMoeError: not such a file, or not one that the page writes.
    """
    try:
        if len(text) > MOST_BYTES:
            raise AtMoeError(NO_RECORD)
        data = json.loads(text)
        router = Record.from_dict(data["router"])
        steered = None if data["steered"] is None else Record.from_dict(data["steered"])
        if router.model["sha256"] != sha256:
            return Foreign(router, steered)
        return _checked(data, router, steered, layout)
    except AtMoeError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise AtMoeError(NO_RECORD) from error


def _checked(data: Any, router: Record, steered: Record | None, layout: Layout) -> Replay:
    """What a file's JSON holds beside its two answers. Raises whatever a broken one leads to."""
    # 1. the model
    if router.plan.layout != layout:
        raise AtMoeError(
            "This record was made by a model with other groups, experts or layers; open it with "
            "that model."
        )

    # 2. what was set
    controls = Controls.from_dict(data["controls"], layout)
    if steered is not None and steered.steering != controls.steering:
        controls = of_steering(steered.steering, layout)  # locks are gone, the answer counts
    settings: dict[str, Any] = dict(router.sampling)
    sampling = Sampling(seed=router.seed, **settings)
    sampling_of(sampling.max_new_tokens, sampling.temperature, sampling.seed)
    if steered is not None and _asked(steered) != _asked(router):
        raise AtMoeError(NO_RECORD)

    # 3. the third answer
    beside = None
    if data.get("beside") is not None:
        kind = Beside(data["beside"]["kind"])
        third = Record.from_dict(data["beside"]["record"])
        beside = kind, third
        if (third.prompt, third.plan.layout) != (router.prompt, layout):
            raise AtMoeError(NO_RECORD)

    # 4. what the page will show of them
    if router.response is not None and router.response.target not in targets(layout):
        raise AtMoeError(NO_RECORD)
    return Replay(router, steered, controls, sampling, beside)


def _asked(record: Record) -> tuple:
    return record.prompt, record.seed, record.sampling


def as_made(record: Record) -> Record:
    """The record of an answer that came with a link, as it was where it was made."""
    engine = record.versions["engine"].removesuffix(f", {FROM_LINK}")
    return replace(record, versions={**record.versions, "engine": engine})


def judgement(name: str, then: Record, now: Record) -> str:
    """Whether an answer came out as its record has it.

    Args:
        name: of the answer.
        then: the record.
        now: the answer made again.

    Returns:
        How it differs, if it does; and what else is not as it was.
    """
    if now.finish == "cancelled":
        return f"{name} was stopped before its end, so it cannot be compared with its record."
    tokens = now.answer_tokens
    if then.finish == "cancelled":
        tokens = tokens[: len(then.answer_tokens)]
    identical = tokens == then.answer_tokens
    if identical:
        sentence = f"{name} came out identical, token by token"
        if then.finish == "cancelled":
            sentence += " as far as the record goes: it was stopped there"
    else:
        words = then.answer.split(), now.answer.split()
        same = len(list(takewhile(lambda pair: pair[0] == pair[1], zip(*words))))
        equal = sum(are_words(then.answer)[:same])
        there, here = (f"“{own[same]}”" if same < len(own) else "its end" for own in words)
        sentence = (
            f"{name} differs: after {count(equal, 'equal word')} the record has {there}, this one "
            f"{here}. The shares of weight differ by up to {100 * _farthest(then, now):.2g} points"
        )
    changes = _changes(then, now, identical)
    if changes:
        return f"{sentence}. Not as it was: {'; '.join(changes)}."
    return (
        f"{sentence}. Model, base, seed {then.seed}, library versions and precision are as they "
        "were."
    )


def _farthest(then: Record, now: Record) -> float:
    return float((then.plan.weights - now.plan.weights).abs().max())


def _changes(then: Record, now: Record, identical: bool) -> list[str]:
    """Each thing that made the answer and is another now.

    Which form of the engine decoded depends on who else was there: it is named only where it may
    be why the answer differs.
    """
    changes = []
    for what, before, after in (("model", then.model, now.model), ("base", then.base, now.base)):
        if before.get("sha256") != after.get("sha256"):
            changes.append(f"the {what} (sha256 {_short(before)} then, {_short(after)} now)")
    for name in sorted({*then.versions, *now.versions}):
        was, present = _told(then, name), _told(now, name)
        if was != present and not (name == "engine" and identical):
            changes.append(f"{TITLES.get(name, name)} ({was} then, {present} now)")
    return changes


def _told(record: Record, name: str) -> str:
    """One of a record's versions. What all is computed in is told where not all is in one."""
    dtype = record.versions.get("dtype", UNKNOWN)
    if name == "computed_in" and not dtype.startswith("int"):
        return dtype
    return record.versions.get(name, UNKNOWN)


def _short(made_by: Mapping[str, str]) -> str:
    return str(made_by.get("sha256", UNKNOWN))[:12]
