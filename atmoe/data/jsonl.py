"""Examples of one's own, one JSON object a line.

    {"prompt": "…", "answer": "…", "labels": {"task": "recipe", "diet": "vegan"}, "topic": "soup"}

Prompt and answer may have 480 tokens together. A label may be a list of two experts (two needs); a
group of one needs none, its expert is every example's.
`topic` is what train and validation are split by, whatever its case and spaces; left out, it is the
prompt. `address` (optional) is the http(s) address of the page that an example was taken from. `id`
may stand there for one's own use; other keys are refused, for a label under a misspelt one would
teach nothing.
"""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Any

from atmoe.data.schema import Example
from atmoe.data.text import tidy
from atmoe.errors import DataError, PromptError
from atmoe.prompt.words import check_text
from atmoe.schema import address_of
from atmoe.written import TwiceError, json_of

_KEYS = ("prompt", "answer", "labels", "topic", "address", "id")


def read_jsonl(path: Path) -> list[Example]:
    """Examples of one's own, one JSON object a line; empty lines are passed over.

    Raises:
        DataError: naming the line and what is wrong with it.
    """
    try:
        lines = Path(path).read_text("utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"The examples in {path} cannot be read ({error}); name a JSONL file in UTF-8."
        ) from error
    return [
        _example(json_line, Path(path), number)
        for number, json_line in enumerate(lines, 1)
        if json_line.strip()
    ]


def _example(line: str, path: Path, number: int) -> Example:
    where = f"{path}, line {number}"
    try:
        raw = json_of(line)
    except TwiceError as error:
        raise DataError(f"{where} is not clear: {error}.") from error
    except ValueError as error:
        raise DataError(f"{where} is not JSON ({error}); write one object a line.") from error
    texts = isinstance(raw, dict) and all(
        isinstance(raw.get(k), str) and raw[k].strip() for k in ("prompt", "answer")
    )
    if not texts or not isinstance(raw.get("labels", {}), dict):
        raise DataError(
            f'{where} needs "prompt" and "answer" as text, and "labels" as {{group: expert}}.'
        )
    if unknown := sorted(set(raw) - set(_KEYS)):
        raise DataError(
            f"{where} has {', '.join(map(repr, unknown))}, which means nothing here; known are "
            f"{', '.join(_KEYS)}. Rename it, or leave it out."
        )
    labels: dict[str, str] = {}
    also: dict[str, str] = {}
    for group, expert in raw.get("labels", {}).items():
        needs = expert if isinstance(expert, list) else [expert]
        different = all(isinstance(e, str) for e in needs) and len(set(needs)) == len(needs)
        if not different or not 1 <= len(needs) <= 2:
            raise DataError(
                f"{where}: the label of {group!r} must be an expert's name, or a list of two."
            )
        labels[group] = needs[0]
        if len(needs) == 2:
            also[group] = needs[1]
    try:
        check_text(raw["prompt"])
        check_text(raw["answer"], "answer")
    except PromptError as error:
        raise DataError(f"{where}: {error}") from error
    topic = "" if raw.get("topic") is None else str(raw["topic"])
    return Example(
        id=f"{path.name}:{number}",
        prompt=raw["prompt"],
        answer=raw["answer"],
        labels=labels,
        also=also,
        disease=_one_spelling(topic) or raw["prompt"],
        source=path.name,
        kind="own",
        topic=topic,
        address=_address(where, raw.get("address")),
    )


def _one_spelling(topic: str) -> str:
    """A topic for the split: “Soup” and “soup ” are one, or answers about it lay on both sides."""
    return tidy(unicodedata.normalize("NFC", topic).casefold())


def _address(where: str, raw: Any) -> str:
    """The address of an example's page, where one is given."""
    if raw in (None, ""):
        return ""
    address = address_of(raw) if isinstance(raw, str) else ""
    if not address:
        raise DataError(
            f"{where}: the address {raw!r:.80} cannot be linked to; write one that begins with "
            f"http:// or https://, or leave it out."
        )
    return address
