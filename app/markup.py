"""The few pieces of HTML on the page. Every text that comes from outside is escaped here."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from html import escape
from itertools import count, groupby
from typing import NamedTuple

from atmoe import Sampling
from atmoe.data.text import ITEM
from atmoe.flags.finding import NO_VERDICT, Finding
from atmoe.presentation import Page

Written = Callable[[int, int], str]
"""The markup of a piece of a text, by where it begins and ends."""

_numbers = count()

ENTITIES = str.maketrans({"{": "&#123;", "}": "&#125;", "$": "&#36;", "`": "&#96;", "\\": "&#92;"})
"""A component's markup is a template in two languages at once; no name may be read as either."""


def inert(text: str) -> str:
    """Text for the markup of a component with a template."""
    return escape(text).translate(ENTITIES)


def passage(text: str, flags: Sequence[Finding] | None = None, of: str | None = None) -> str:
    """An answer, as the model wrote it, its lists as lists.

    Args:
        text: the answer.
        flags: what is underlined in it, and says why under the pointer.
        of: which answer it is (`app.whose`); None = nobody asks.
    """
    return differing([(text, False)], flags, of)


def differing(
    spans: Sequence[tuple[str, bool]],
    flags: Sequence[Finding] | None = None,
    of: str | None = None,
) -> str:
    """An answer in which what the other answer lacks is marked; the page shows it on demand.

    Args:
        spans: of the answer, one after the other, and whether the other answer lacks each.
        flags: what is underlined, as in `passage`.
        of: which answer it is, as there.
    """
    text = "".join(part for part, _ in spans)
    differs = [lacking for part, lacking in spans for _ in part]  # a character each
    flagged = _each(text, [(flag.start, flag.end, flag.sentence) for flag in flags or ()])

    def written(start: int, end: int) -> str:
        parts = []
        marks = groupby(range(start, end), lambda place: (differs[place], flagged[place]))
        for (lacking, why), places in marks:
            part = _titled(text, places, why, "flagged")
            parts.append(f'<mark class="differs">{part}</mark>' if lacking else part)
        return "".join(parts)

    return _passage(text, written, of)


def greyed(text: str, reasons: Sequence[tuple[int, int, str]]) -> str:
    """An answer in which some places stand back, and say why under the pointer.

    Args:
        text: the answer.
        reasons: of what is greyed: where it begins and ends, and why.
    """
    each = _each(text, reasons)

    def written(start: int, end: int) -> str:
        groups = groupby(range(start, end), each.__getitem__)
        return "".join(_titled(text, places, why, "greyed") for why, places in groups)

    return _passage(text, written)


def _each(text: str, reasons: Sequence[tuple[int, int, str]]) -> list[str | None]:
    """What is said of each character; of places that overlap, the last one's."""
    each: list[str | None] = [None] * len(text)
    for start, end, why in reasons:
        each[start:end] = [why] * (end - start)
    return each


def _titled(text: str, places: Iterable[int], why: str | None, kind: str) -> str:
    """Characters of a text; with a reason, in a span of that class that says it."""
    part = escape("".join(text[place] for place in places))
    return part if why is None else f'<span class="{kind}" title="{escape(why)}">{part}</span>'


class _Line(NamedTuple):
    """A line of a text, by its places there.

    Attributes:
        kind: of the list that it is an item of, "ul" or "ol"; "" where of none.
        start: where it begins.
        words: where the words behind an item's mark begin.
        end: where the next one begins.
    """

    kind: str
    start: int
    words: int
    end: int


def _passage(text: str, written: Written, of: str | None = None) -> str:
    """A text with its lists as lists.

    What a browser takes for its `textContent` is the text to the last character: the marks of items
    and the ends of lines are there, so that what is copied is what the model wrote.
    """
    pieces = []
    for kind, lines in groupby(_lines(text), lambda line: line.kind):
        if kind:
            items = "".join(_item(text, line, written) for line in lines)
            pieces.append(f'<{kind} role="list">{items}</{kind}>')
        else:
            pieces += [written(line.start, line.end) for line in lines]
    return f'<div class="passage" tabindex="0"{_of(of)}>{"".join(pieces)}</div>'


def _lines(text: str) -> list[_Line]:
    """The lines of a text; blank ones between two items of a list belong to the upper item."""
    lines: list[_Line] = []
    for found in re.finditer(r"[^\n]*\n|[^\n]+", text):
        start, end = found.span()
        item = ITEM.match(text, start, end)
        if item is None:
            lines.append(_Line("", start, start, end))
            continue
        kind = "ol" if any(map(str.isdigit, item[0])) else "ul"
        upper = len(lines) - 1
        while upper >= 0 and not text[lines[upper].start : lines[upper].end].strip():
            upper -= 1
        if upper >= 0 and lines[upper].kind == kind:
            lines[upper:] = [lines[upper]._replace(end=start)]
        lines.append(_Line(kind, start, item.end(), end))
    return lines


def _item(text: str, line: _Line, written: Written) -> str:
    stop = line.start + len(text[line.start : line.end].rstrip())
    hidden = ' aria-hidden="true"' if line.kind == "ul" else ""  # a screen reader has its own word
    return (
        f'<li><span class="bullet"{hidden}>{written(line.start, line.words)}</span>'
        f"{written(line.words, stop)}</li>{escape(text[stop : line.end])}"
    )


def asked(
    question: str,
    under: str,
    sampling: Sampling | None = None,
    caution: str = "",
    of: str | None = None,
    whole: str = "",
) -> str:
    """What an answer answers. The page marks it as old where the box says something else.

    Args:
        question: as it was read; empty = none.
        under: what the answer was given under, in words.
        sampling: how; None where it is not known.
        caution: a sentence to be read before the answer.
        of: which answer that is (`app.whose`).
        whole: what it was given under, where `under` is short for it; it is under the pointer.
    """
    if not question:
        return line("")
    how = ""
    if sampling is not None:
        values = (sampling.max_new_tokens, f"{sampling.temperature:g}", sampling.seed)
        how = f' data-sampling="{" ".join(map(str, values))}"'
    return (
        f'<p class="of" data-question="{escape(question)}"{how}{_of(of)} '
        f'title="{escape(question)} · {escape(whole or under)}">'
        '<span class="old of-question">Old: answers</span>'
        '<span class="old of-setting">Old: a setting has changed.</span>'
        f"<b>{escape(under)}</b><q>{escape(question)}</q></p>"
        + (f'<p class="caution" role="status">{escape(caution)}</p>' if caution else "")
    )


def notice(text: str, of: str | None = None) -> str:
    """The page's own words where an answer would stand.

    Args:
        text: the words.
        of: which answer's place they are in (`app.whose`); None = any.
    """
    return f'<div class="passage told" role="status"{_of(of)}>{escape(text)}</div>'


def _of(key: str | None) -> str:
    return "" if key is None else f' data-of="{key}"'


def line(text: str) -> str:
    """A line of small print."""
    return f"<span>{escape(text)}</span>"


def small_print(
    text: str,
    note: str = "",
    warning: str = "",
    rest: str = "",
    flags: Sequence[str] = (),
    cut: bool = False,
) -> str:
    """What stands below an answer.

    Args:
        text: its facts, in a line.
        note: what else is to be known of it.
        warning: what was measured against it.
        rest: more facts, on demand; they lie over what is below them.
        flags: what was found in its words, a sentence each, on demand.
        cut: the answer was stopped at its limit; the style sheet says so where its words end.
    """
    parts = [line(text)]
    if rest:
        parts = [
            f'<details class="rest"><summary>{escape(text)}</summary>{line(rest)}</details>',
        ]
    if flags:
        parts.append(popover("⚑ flagged: marks, not errors", [NO_VERDICT, *flags], "flags"))
    if note:
        parts.append(f'<p class="hint">{escape(note)}</p>')
    if warning:
        parts.append(f'<p class="warns" role="status">{escape(warning)}</p>')
    if cut:
        parts.append('<i class="cut" hidden></i>')
    return "".join(parts)


def lines(texts: Sequence[str]) -> str:
    """Several sentences that came with time, each on its own line."""
    return '<div role="status">' + "".join(f"<p>{escape(text)}</p>" for text in texts) + "</div>"


def message(text: str) -> str:
    """A sentence that must not be missed; empty = nothing to say."""
    if not text:
        return ""
    # Numbered, so that the same sentence is drawn anew after it was closed.
    return (
        f'<div class="message" role="alert" data-number="{next(_numbers)}">{escape(text)}'
        '<button type="button" aria-label="Close"></button></div>'
    )


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


def header(page: Page, parameters: int, model: str) -> str:
    """What must be known before anything is read.

    Args:
        page: what the model says of itself.
        parameters: how many the base model has.
        model: its name.
    """
    first, point, others = page.warning.partition(". ")
    return (
        f"<h1>{escape(page.title)}</h1>"
        f'<p class="warning"><strong>{escape(first + point)}</strong>{escape(others)} '
        f"<strong>Often wrong.</strong> A {round(parameters / 1e6)}-million-parameter model "
        f"({escape(model)}).</p>"
    )


def folded(markdown: str) -> str:
    """Markdown of which each paragraph that begins with a bold title stands behind that title.

    The first one is open. A list, or a paragraph without a title, belongs to the one above it.
    """
    parts = re.split(r"^\*\*(.+?)\*\*(?=\s)", markdown, flags=re.MULTILINE)
    written = parts[0]
    for place, (title, rest) in enumerate(zip(parts[1::2], parts[2::2])):
        opened = " open" * (place == 0)
        # a title without a full stop is what its first sentence begins with
        text = rest if title.endswith(".") else title + rest
        written += f"<details{opened}><summary>{title.rstrip('.')}</summary>\n\n{text.strip()}\n"
        written += "\n</details>\n\n"
    return written
