"""Sentences of an answer as stretches of its tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from atmoe.data.text import sentences, tidy

REPLACEMENT = "\ufffd"
"""What bytes that spell no character are decoded to."""
CLOSING = "\"')]”’"


@dataclass(frozen=True)
class Span:
    """Tokens `start` to `end` (not included), and their text."""

    start: int
    end: int
    text: str


def sentence_spans(tokenizer: PreTrainedTokenizerBase, tokens: Sequence[int]) -> tuple[Span, ...]:
    """The sentences of an answer, every token in one of them. A line break ends one too."""

    def decode(start: int, end: int) -> str:
        return tokenizer.decode(list(tokens[start:end]), skip_special_tokens=True)

    ends = _ends(decode(0, len(tokens)))
    spans = []
    start = 0
    for n in range(1, len(tokens) + 1):
        characters = len(_squeezed(decode(0, n)))
        if n == len(tokens) or (ends and characters >= ends[0]):
            spans.append(Span(start, n, tidy(decode(start, n))))
            start = n
            ends = [end for end in ends if end > characters]
    return tuple(spans)


def token_texts(tokenizer: PreTrainedTokenizerBase, tokens: Sequence[int]) -> tuple[str, ...]:
    """What each token adds to an answer; joined, they are the answer.

    A character may be spelt by several tokens: it stands with the last of them, and the others add
    nothing.
    """
    texts = []
    before = ""
    for n in range(1, len(tokens) + 1):
        # What is not yet a whole character is decoded to a sign of replacement.
        whole = tokenizer.decode(list(tokens[:n]), skip_special_tokens=True).rstrip(REPLACEMENT)
        now = whole.lstrip()
        texts.append(now[len(before) :] if now.startswith(before) else "")
        before = now if now.startswith(before) else before
    return tuple(texts)


def character_at(tokenizer: PreTrainedTokenizerBase, tokens: Sequence[int], index: int) -> str:
    """The text of one token, or of all that spell a character together with it.

    Returns:
        "" where the token is not there, or its character never became whole.
    """
    if index >= len(tokens):
        return ""
    alone = tokenizer.decode([tokens[index]])
    if REPLACEMENT not in alone:
        return alone
    together = next((text for text in token_texts(tokenizer, tokens)[index:] if text), "")
    # Bytes that are no character in any company stay what they are.
    return alone if REPLACEMENT in together else together


def _ends(text: str) -> list[int]:
    """Where each sentence but the last ends, in characters other than whitespace."""
    squeezed = _squeezed(text)
    ends = []
    at = 0
    for line in text.splitlines():
        for sentence in sentences(tidy(line)):
            words = _squeezed(sentence)
            at = max(squeezed.find(words, at), at) + len(words)
            while at < len(squeezed) and squeezed[at] in CLOSING:
                at += 1
            ends.append(at)
    return ends[:-1]


def _squeezed(text: str) -> str:
    """Without whitespace."""
    return "".join(text.split())
