"""Which answer a part of the page is of, so that the browser sees what came too late.

What the server says of several events may reach a page in any order, and what was said of one
question may come over what was said of the next. So every part says what it is of, in three pieces
that are equal where that is, and the browser holds them against each other (assets/app/page.js):

    question . settings . steering
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from fractions import Fraction
from hashlib import blake2b
from typing import Any

from atmoe import Record, Sampling, Steering


def answer_key(prompt: str, sampling: Sampling, steering: Steering) -> str:
    """Of the answer to a question under its settings and a steering."""
    return _joined(prompt, asdict(sampling), steering)


def record_key(record: Record) -> str:
    """Of the answer that a record holds."""
    return _joined(record.prompt, {**record.sampling, "seed": record.seed}, record.steering)


def plan_key(prompt: str, steering: Steering | None = None) -> str:
    """Of the plan for a question, whatever the settings; None = whatever the steering, too."""
    return f"{_short(prompt)}..{'' if steering is None else _short(steering)}"


def tagged(key: str, html: str) -> str:
    """Markup that says what it is of.

    Args:
        key: of one answer, or of several with spaces between them.
        html: the markup.
    """
    return f'<i hidden data-of="{key}"></i>{html}'


def _joined(prompt: str, sampling: Mapping[str, Any], steering: Steering) -> str:
    values = sorted((name, Fraction(value)) for name, value in sampling.items())
    return f"{_short(prompt)}.{_short(values)}.{_short(steering)}"


def _short(value: object) -> str:
    return blake2b(repr(value).encode(errors="surrogatepass"), digest_size=6).hexdigest()
