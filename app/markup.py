"""The few pieces of HTML on the page. Every text that comes from outside is escaped here."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from atmoe import Sampling

ENTITIES = str.maketrans({"{": "&#123;", "}": "&#125;", "$": "&#36;", "`": "&#96;", "\\": "&#92;"})
"""A component's markup is a template in two languages at once; no name may be read as either."""


def inert(text: str) -> str:
    """Text for the markup of a component with a template."""
    return escape(text).translate(ENTITIES)


def passage(text: str) -> str:
    """An answer, as the model wrote it."""
    return f'<div class="passage" tabindex="0">{escape(text)}</div>'


def differing(spans: Sequence[tuple[str, bool]]) -> str:
    """An answer in which what the other answer lacks is underlined and bold."""
    text = "".join(
        f'<mark class="differs">{escape(part)}</mark>' if differs else escape(part)
        for part, differs in spans
    )
    return f'<div class="passage" tabindex="0">{text}</div>'


def asked(question: str, under: str, sampling: Sampling | None = None, caution: str = "") -> str:
    """What an answer answers. The page marks it as old where the box says something else.

    Args:
        question: as it was read; empty = none.
        under: what the answer was given under, in words.
        sampling: how; None where it is not known.
        caution: a sentence to be read before the answer.
    """
    if not question:
        return line("")
    how = ""
    if sampling is not None:
        values = (sampling.max_new_tokens, f"{sampling.temperature:g}", sampling.seed)
        how = f' data-sampling="{" ".join(map(str, values))}"'
    return (
        f'<p class="of" data-question="{escape(question)}"{how} title="{escape(question)} · '
        f'{escape(under)}"><span class="old">Old: the box or a setting says something else. </span>'
        f"<q>{escape(question)}</q> · <b>{escape(under)}</b></p>"
        + (f'<p class="caution" role="status">{escape(caution)}</p>' if caution else "")
    )


def notice(text: str) -> str:
    """The page's own words where an answer would stand."""
    return f'<div class="passage told" role="status">{escape(text)}</div>'


def line(text: str) -> str:
    """A line of small print."""
    return f"<span>{escape(text)}</span>"


def small_print(text: str, note: str = "", warning: str = "") -> str:
    """What stands below an answer.

    Args:
        text: its facts.
        note: what else is to be known of it.
        warning: what was measured against it.
    """
    parts = [line(text)]
    if note:
        parts.append(f'<p class="hint">{escape(note)}</p>')
    if warning:
        parts.append(f'<p class="warns" role="status">{escape(warning)}</p>')
    return "".join(parts)


def lines(texts: Sequence[str]) -> str:
    """Several sentences that came with time, each on its own line."""
    return '<div role="status">' + "".join(f"<p>{escape(text)}</p>" for text in texts) + "</div>"


def message(text: str) -> str:
    """A sentence that must not be missed; empty = nothing to say."""
    return f'<div class="message" role="alert">{escape(text)}</div>' if text else ""


def marked(text: str) -> str:
    """A paragraph in which *words between stars* are strong."""
    parts = escape(text).split("*")
    words = "".join(f"<strong>{part}</strong>" if i % 2 else part for i, part in enumerate(parts))
    return f'<p class="why">{words}</p>'


def ruling(level: str, sentence: str) -> str:
    """A verdict: its sign and its sentence."""
    sign = {"explain": "✓", "partly": "◐", "do not": "✗"}[level]
    return (
        f'<div class="verdict" role="status"><span aria-hidden="true">{sign}</span> '
        f"{escape(sentence)}</div>"
    )


def badge(text: str, changed: bool) -> str:
    """Whose weights are in force, in the page's header."""
    return f'<span class="badge{" changed" * changed}" role="status">{escape(text)}</span>'


def header(parameters: int, model: str) -> str:
    """What must be known before anything is read.

    Args:
        parameters: how many the base model has.
        model: its name.
    """
    return (
        f"<h1>AT-MoE Explorer</h1>"
        f'<p class="warning"><strong>Research demo, not a medical device.</strong> '
        f"No patient-identifiable data. "
        f"A {round(parameters / 1e6)}-million-parameter model ({escape(model)}), often wrong.</p>"
    )
