"""The few pieces of HTML on the page. Every text that comes from outside is escaped here."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from atmoe import Sampling


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


def asked(question: str, under: str, sampling: Sampling | None = None) -> str:
    """What an answer answers. The page marks it as old where the box says something else.

    Args:
        question: as it was read; empty = none.
        under: what the answer was given under, in words.
        sampling: how; None where it is not known.
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


def popover(summary: str, texts: Sequence[str], kind: str) -> str:
    """Words behind which more stands, that lies over what is below them while open.

    Args:
        summary: HTML.
        texts: a paragraph each.
        kind: of which class it is.
    """
    more = "".join(f"<p>{escape(text)}</p>" for text in texts)
    return (
        f'<details class="popover {kind}"><summary>{summary}</summary><div>{more}</div></details>'
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
