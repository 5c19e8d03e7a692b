"""The state of the page in a query string, short enough to mail and plain enough to read.

    ?v=2&set=audience/patient:100!,specialty:off&in=late&cells=task:12-17:60,task:3:off
    &strength=0.5&tokens=80&q=How is asthma treated?

`v` is the version. `!` locks. What is at its default is left out, and so is the question unless a
person ticks it. Version 1 knew no cells; its links still open.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from urllib.parse import parse_qsl, quote, unquote, urlencode

from app.controls import Cells, Controls, Setting
from app.view import sampling_of
from atmoe import AtMoeError, Layout, State, Steering

VERSION, READ = "2", ("1", "2")
OTHERS = ("utm_", "__")
"""What others add to an address begins so: who sent it, and Gradio's own `__theme`."""
OURS = ("v", "set", "cells", "strength", "in", "on", "tokens", "temperature", "seed", "q")
MAX_QUESTION = 2000
"""Characters; browsers and mail programs cut longer links."""
PERCENT = r"[0-9]{1,3}(?:\.[0-9]{1,340})?"
SETTING = re.compile(rf"(off)?({PERCENT})?(!)?")
CELLS = re.compile(rf"([0-9]{{1,6}})(?:-([0-9]{{1,6}}))?:(?:(off|router)|({PERCENT}))")
WHOLE, NUMBER = re.compile("-?[0-9]{1,20}"), re.compile(r"-?[0-9]{1,20}(?:\.[0-9]{1,340})?")


class LinkError(AtMoeError):
    """A link that cannot be read, or cannot be made."""


@dataclass(frozen=True)
class Linked:
    """What a link holds. The question is None where it was not to be shared."""

    controls: Controls = field(default_factory=Controls)
    tokens: int = 160
    temperature: float = 0.0
    seed: int = 0
    question: str | None = None


def to_query(linked: Linked) -> str:
    """The query string, question mark included.

    Raises:
        LinkError: the question is too long for a link.
    """
    if len(linked.question or "") > MAX_QUESTION:
        raise LinkError(
            f"The question has more than {MAX_QUESTION:,} characters, too many for a link; leave "
            "it out, or download the record instead."
        )
    usual, controls = Linked(), linked.controls
    parts = {"v": VERSION}
    if controls.settings:
        parts["set"] = ",".join(
            f"{quote(target, safe='/')}:{_setting_text(setting)}"
            for target, setting in controls.settings.items()
        )
    if controls.cells:
        parts["cells"] = ",".join(_cells_text(cells) for cells in controls.cells)
    values = {
        "strength": _exactly(controls.strength),
        "in": controls.scope,
        "on": f"{controls.on:d}",
        "tokens": f"{linked.tokens}",
        "temperature": _exactly(linked.temperature),
        "seed": f"{linked.seed}",
    }
    defaults = {
        "strength": "1",
        "in": "all",
        "on": "1",
        "tokens": f"{usual.tokens}",
        "temperature": "0",
        "seed": "0",
    }
    parts |= {key: value for key, value in values.items() if value != defaults[key]}
    if linked.question:
        parts["q"] = linked.question
    return "?" + urlencode(parts, safe="/:,!")


def query_of(search: str) -> dict[str, str]:
    """What stands in an address behind its question mark.

    Raises:
        LinkError: it says one of our things twice, so that one of them would be lost.
    """
    query: dict[str, str] = {}
    for key, value in parse_qsl(search, keep_blank_values=True):
        if key in OURS and key in query:
            raise LinkError(f"This link says {key} twice; copy it again from Share.")
        query[key] = value
    return query


def from_query(query: Mapping[str, str], layout: Layout) -> Linked | None:
    """What a link holds; None where the address holds nothing of ours.

    Raises:
        LinkError: another version, a broken string, or settings that this model cannot take.
    """
    if not any(key in query for key in OURS):
        return None
    if query.get("v") not in READ:
        raise LinkError(
            f"This link is of version {query.get('v', 'none')!s:.12}, and this page reads versions "
            f"{' and '.join(READ)}; the page starts clean."
        )
    try:
        listed = [_setting_of(item) for item in query.get("set", "").split(",") if item]
        settings = dict(listed)
        if len(settings) != len(listed):
            raise LinkError("It sets one group or expert twice.")
        cells = tuple(_cells_of(item) for item in query.get("cells", "").split(",") if item)
        controls = Controls(
            settings,
            float(_of_form(NUMBER, query.get("strength", "1"))),
            query.get("in", "all"),
            _flag(query.get("on", "1")),
            cells,
        )
        tokens, temperature, seed = (
            int(_of_form(WHOLE, query.get("tokens", "160"))),
            float(_of_form(NUMBER, query.get("temperature", "0"))),
            int(_of_form(WHOLE, query.get("seed", "0"))),
        )
        if not math.isfinite(controls.strength):
            raise ValueError("strength")
        sampling_of(tokens, temperature, seed)
        return Linked(controls.checked(layout), tokens, temperature, seed, query.get("q"))
    except AtMoeError as error:
        raise LinkError(f"This link cannot be opened, so the page starts clean. {error}") from error
    except (ValueError, AttributeError, TypeError) as error:
        raise LinkError(
            "This link is broken, perhaps cut off on its way, so the page starts clean."
        ) from error


def steering_of_link(link: str, layout: Layout) -> Steering:
    """The steering that a link sets.

    Args:
        link: a whole address, or what follows its question mark; what is behind its # stays out.
        layout: the model's.

    Raises:
        LinkError: it cannot be read, sets nothing of ours, or says something that nobody reads.
    """
    query = query_of(link.partition("#")[0].rpartition("?")[2])
    linked = from_query(query, layout)
    if linked is None:
        raise LinkError("This is no link of the page; copy one from Share, or send a steering.")
    for key in query:
        if key not in OURS and not key.startswith(OTHERS):
            raise LinkError(f"A link has no {key!r:.40}; it may have {', '.join(OURS)}.")
    return linked.controls.steering


def _exactly(number: float) -> str:
    """A number with all its digits, and none more: read again, it is the same."""
    text = f"{Decimal(repr(float(number))):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _of_form(form: re.Pattern[str], text: str) -> str:
    """Raises: ValueError, where a text is not of that form; Python reads more than a link says."""
    if not form.fullmatch(text):
        raise ValueError(text)
    return text


def _setting_text(setting: Setting) -> str:
    return "off" * (setting.state is State.OFF) + _exactly(setting.percent) + "!" * setting.locked


def _setting_of(item: str) -> tuple[str, Setting]:
    target, colon, value = item.partition(":")
    match = SETTING.fullmatch(value)
    if not colon or not match or not (match[1] or match[2]):
        raise ValueError(item)
    return unquote(target), Setting(
        State.OFF if match[1] else State.FIXED, float(match[2] or 0), bool(match[3])
    )


def _cells_text(cells: Cells) -> str:
    value = _exactly(cells.percent) if cells.state is State.FIXED else str(cells.state)
    return f"{quote(cells.target, safe='/')}:{cells.scope}:{value}"


def _cells_of(item: str) -> Cells:
    target, _, value = item.partition(":")
    match = CELLS.fullmatch(value)
    if not match:
        raise ValueError(item)
    first, last, state, percent = match.groups()
    return Cells(
        unquote(target),
        int(first),
        int(last or first),
        State(state or State.FIXED),
        float(percent or 0),
    )


def _flag(text: str) -> bool:
    if text not in ("0", "1"):
        raise ValueError(text)
    return text == "1"
