"""Sentences of an answer as stretches of its tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from atmoe.data.text import sentences, tidy

CLOSING = "\"')]”’"


@dataclass(frozen=True)
class Span:
    """Tokens `start` to `end` (not included), and their text."""

    start: int
    end: int
    text: str


def sentence_spans(tokenizer: PreTrainedTokenizerBase, tokens: Sequence[int]) -> tuple[Span, ...]:
    """The sentences of an answer; together they hold every token once. A line break ends one too."""
    decode = lambda start, end: tokenizer.decode(list(tokens[start:end]), skip_special_tokens=True)
    ends = _ends(decode(0, len(tokens)))
    spans, start = [], 0
    for n in range(1, len(tokens) + 1):
        said = len(_squeezed(decode(0, n)))
        if n == len(tokens) or (ends and said >= ends[0]):
            spans.append(Span(start, n, tidy(decode(start, n))))
            start = n
            ends = [end for end in ends if end > said]
    return tuple(spans)


def _ends(text: str) -> list[int]:
    """How many characters, whitespace left out, stand before the end of each sentence but the last."""
    squeezed, ends, at = _squeezed(text), [], 0
    for line in text.splitlines():
        for sentence in sentences(tidy(line)):
            words = _squeezed(sentence)
            at = max(squeezed.find(words, at), at) + len(words)
            while at < len(squeezed) and squeezed[at] in CLOSING:
                at += 1
            ends.append(at)
    return ends[:-1]


def _squeezed(text: str) -> str:
    return "".join(text.split())
