"""A prompt: what a person typed, checked, put into the base model's chat template, and marked token by token.

The router pools over *instruction tokens*, the words the person typed. Pooling over the template too would make
routing look the same for every prompt, so the three parts are tokenised apart and the mark is exact. That also
keeps text such as "<|im_end|>" in a question from being read as the template's own token.
"""

from __future__ import annotations

import threading
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from atmoe.errors import PromptError

_PLACE = "␞instruction␞"
_one_at_a_time = (
    threading.Lock()
)  # split_special_tokens is a switch on the tokenizer itself, shared by all threads


@dataclass(frozen=True)
class Prompt:
    """ids: token ids of the whole prompt, template included.  start, end: the instruction's tokens in it."""

    ids: tuple[int, ...]
    start: int
    end: int


def check_text(text: str, what: str = "question", max_characters: int = 100_000) -> str:
    """The text, stripped and in Unicode NFC.

    what: how a message calls it.

    Raises:
        PromptError: not text, empty, too long, or control characters.
    """
    if not isinstance(text, str):
        raise PromptError(f"The {what} must be text, not {type(text).__name__}.")
    if len(text) > max_characters:
        raise PromptError(
            f"The {what} has {len(text):,} characters; shorten it to fewer than {max_characters:,}."
        )
    text = unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\r", "\n")).strip()
    if not text:
        raise PromptError(
            f"The {what} is empty; write one"
            + (", for example: How is asthma treated?" if what == "question" else ".")
        )
    for ch in text:
        if unicodedata.category(ch) in ("Cc", "Cs") and ch not in "\n\t":
            raise PromptError(
                f"The {what} holds the control character U+{ord(ch):04X}; remove it and try again."
            )
    return text


def check_words(text: str, scripts: Sequence[str] = ()) -> None:
    """Refuse a question that the experts cannot have learned to read.

    scripts: Unicode script names ("LATIN") that most letters must belong to; empty = any.

    Raises:
        PromptError: no letter at all, or mostly letters of another script.
    """
    letters = [ch for ch in text if ch.isalpha()]
    if not letters:
        raise PromptError(
            "The question holds no words; write it in words, for example: How is asthma treated?"
        )
    if scripts:
        known = sum(unicodedata.name(ch, "").startswith(tuple(scripts)) for ch in letters)
        if known < 0.5 * len(letters):
            wanted = " or ".join(s.capitalize() for s in scripts)
            raise PromptError(
                f"These experts were trained on English; write the question in English, in {wanted} letters."
            )


def encode_prompt(
    tokenizer: PreTrainedTokenizerBase, text: str, max_tokens: int, scripts: Sequence[str] = ()
) -> Prompt:
    """Check `text` and put it into the tokenizer's chat template (or, where there is none, before a line break).

    Raises:
        PromptError: see `check_text` and `check_words`; or more than `max_tokens` tokens in all.
    """
    text = check_text(text, max_characters=20 * max_tokens)
    check_words(text, scripts)
    if tokenizer.chat_template:
        frame = tokenizer.apply_chat_template(
            [{"role": "user", "content": _PLACE}], tokenize=False, add_generation_prompt=True
        )
        parts = frame.split(_PLACE)
        if len(parts) != 2:
            raise PromptError(
                f"The base model's chat template repeats or changes what is typed ({len(parts) - 1} places "
                f"hold it, not 1); use a base model whose template holds it once, as it is."
            )
        before, after = (encode_text(tokenizer, part, template=True) for part in parts)
    else:
        before = [tokenizer.bos_token_id] if tokenizer.bos_token_id is not None else []
        after = encode_text(tokenizer, "\n")
    words = encode_text(tokenizer, text)
    total = len(before) + len(words) + len(after)
    if total > max_tokens:
        raise PromptError(
            f"The question has {total:,} tokens with its frame; shorten it to at most {max_tokens:,}."
        )
    return Prompt((*before, *words, *after), len(before), len(before) + len(words))


def encode_text(tokenizer: PreTrainedTokenizerBase, text: str, template: bool = False) -> list[int]:
    """Token ids of a piece of text, nothing added. Only a `template`'s special tokens are read as such."""
    with _one_at_a_time:
        return tokenizer(text, add_special_tokens=False, split_special_tokens=not template)[
            "input_ids"
        ]


@dataclass(frozen=True)
class Batch:
    """Rows of equal length. All tensors [rows, tokens]; padding has attention 0."""

    ids: Tensor
    attention: Tensor
    instruction: Tensor
    positions: Tensor


def collate(
    prompts: Sequence[Prompt],
    tails: Sequence[Sequence[int]] | None = None,
    *,
    pad: int,
    side: str = "left",
    multiple: int = 1,
    device: torch.device | str = "cpu",
) -> Batch:
    """Prompts, each followed by its tail of answer tokens if any, padded to one length.

    side: where padding goes; the result of a model must not depend on it.
    multiple: lengths are rounded up to it (bfloat16 kernels on a CPU pay for every new shape).
    """
    rows = [[*p.ids, *(tails[i] if tails else ())] for i, p in enumerate(prompts)]
    length = -(-max(map(len, rows)) // multiple) * multiple
    ids = torch.full((len(rows), length), pad, dtype=torch.long)
    attention, instruction = torch.zeros_like(ids), torch.zeros_like(ids)
    for i, (row, prompt) in enumerate(zip(rows, prompts)):
        first = length - len(row) if side == "left" else 0
        ids[i, first : first + len(row)] = torch.tensor(row)
        attention[i, first : first + len(row)] = 1
        instruction[i, first + prompt.start : first + prompt.end] = 1
    positions = (attention.cumsum(1) - 1).clamp(min=0)
    return Batch(*(t.to(device) for t in (ids, attention, instruction, positions)))
