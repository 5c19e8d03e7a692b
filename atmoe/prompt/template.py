"""A question in the chat template of a base model, marked token by token.

    text ─ check_question ─► one spelling of it ─ template ─► the template's ids, the words marked

The router pools over *instruction tokens*, the words the person typed: pooling over the template
too would make routing look the same for every prompt. The ids are those of `apply_chat_template`,
to the token; the mark comes from where in the rendered text the words stand. A special token such
as "<|im_end|>" that a person types is split like any words, and never read as the template's own.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from transformers import PreTrainedTokenizerBase

from atmoe.errors import BaseModelError, PromptError
from atmoe.prompt.words import check_question, check_words

_PLACE = "␞instruction␞"
_BENIGN = "How"
"""Words without anything special, to see how a tokenizer joins words to a template."""
_NOBODYS = range(0xE000, 0xF8FF)
"""Characters for private use, one of which stands in for a typed special token."""
_MARK = re.compile(r"[<\[{|>«＜].+[>\]}|<»＞]")
"""What a token looks like that is no word."""
_HTML = re.compile(
    r"</?(table|caption|t(head|body|foot|[rhd])|h[1-6]|blockquote|strong|em|[biuspa]|su[bp]|code|pre"
    r"|br|hr|[ou]l|li|div|span|img)>"
)
_TODAY = datetime(2024, 7, 26)
"""What a template that writes the date is told, as Llama's where they know none: the same question
is to have the same answer tomorrow."""
_NOW = re.compile(r"""strftime_now\s*\(\s*(?:format\s*=\s*)?(["'])(.*?)\1\s*\)""")
"""Where a template writes the date, with the form in quotes."""
# split_special_tokens is a switch on the tokenizer itself, shared by all threads.
_one_at_a_time = threading.Lock()


@dataclass(frozen=True)
class Prompt:
    """One prompt as the model reads it.

    Attributes:
        ids: token ids of the whole prompt, template included.
        start: where the instruction's tokens begin in `ids`.
        end: where they end, exclusive.
        text: the words themselves, as `check_question` spells them.
    """

    ids: tuple[int, ...]
    start: int
    end: int
    text: str = ""


def encode_prompt(
    tokenizer: PreTrainedTokenizerBase, text: str, max_tokens: int, scripts: Sequence[str] = ()
) -> Prompt:
    """Check a question and put it into the tokenizer's chat template.

    Where the tokenizer has no template, the question stands before a line break.

    Args:
        tokenizer: the base model's.
        text: what a person typed.
        max_tokens: the prompt may have no more, template included.
        scripts: Unicode script names that most letters must belong to; empty = any.

    Raises:
        PromptError: the text is refused by `check_question` or `check_words`, has more than
            `max_tokens` tokens in all, or the template does not hold it once, as it is.
    """
    # 1. is it a question that the experts can read?
    text = check_question(text, max_characters=20 * max_tokens)
    check_words(text, scripts)
    # 2. what stands before and after it
    if tokenizer.chat_template:
        try:
            prompt = _in_template(tokenizer, text)
        except PromptError:
            raise
        except Exception as error:  # a template may refuse some questions and not others
            raise PromptError(
                f"The base model's chat template cannot take this question ({_first_line(error)}); "
                f"put it in other words, or use another base model."
            ) from error
    else:
        before = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
        prompt = _joined(before, encode_text(tokenizer, text), encode_text(tokenizer, "\n"), text)
    # 3. all of it within the limit
    if len(prompt.ids) > max_tokens:
        raise PromptError(
            f"The question has {len(prompt.ids):,} tokens with its frame; shorten it to at most "
            f"{max_tokens:,}."
        )
    return prompt


def check_template(tokenizer: PreTrainedTokenizerBase) -> None:
    """Whether questions can be put into a tokenizer's chat template; asked once, when it is loaded.

    Raises:
        BaseModelError: the template cannot be rendered, or does not hold a question once, as it is.
    """
    if not tokenizer.chat_template:
        return
    try:
        _in_template(tokenizer, _BENIGN)
    except PromptError as error:
        raise BaseModelError(str(error)) from error
    except Exception as error:  # Jinja's own errors, a template's raise_exception, a list of names
        raise BaseModelError(
            f"The base model's chat template cannot be used ({_first_line(error)}); use a base "
            f"model with one template for chats, or mend chat_template in its "
            f"tokenizer_config.json or chat_template.jinja."
        ) from error


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    name = type(error).__name__
    return f"{name}: {lines[0][:160]}".rstrip(".") if lines else name


def _in_template(tokenizer: PreTrainedTokenizerBase, text: str) -> Prompt:
    """A question in the chat template: the template's ids, and which of them are the person's.

    Raises:
        PromptError: the template does not hold the words once, as they are.
    """
    before, after = _frame(tokenizer)
    rendered = _rendered(tokenizer, text)
    if rendered != before + text + after:
        raise PromptError(
            "The base model's chat template changes what is typed; use a base model whose template "
            "holds it once, as it is."
        )
    special = _special_tokens(tokenizer)
    if tokenizer.is_fast:
        ids, offsets = _with_offsets(tokenizer, rendered)
        prompt = _marked(ids, offsets, len(before), len(before) + len(text), text)
        if not _typed(tokenizer, special, prompt):
            return prompt
    # Somebody typed a special token. In pieces it is split like any words.
    prompt = _in_pieces(tokenizer, before, text, after)
    if tokenizer.is_fast:
        benign = _with_offsets(tokenizer, before + _BENIGN + after)[0]
        if list(_in_pieces(tokenizer, before, _BENIGN, after).ids) != benign:
            prompt = _with_stand_ins(tokenizer, before, text, after, special)
    typed = _typed(tokenizer, special, prompt)
    if typed:
        raise PromptError(
            f"The question holds {special[min(typed)]!r}, which the base model reads as a mark of "
            f"its own; write it otherwise, with a space in it, say."
        )
    return prompt


def _typed(tokenizer: PreTrainedTokenizerBase, special: dict[int, str], prompt: Prompt) -> set[int]:
    """The special tokens among a person's words, without the one for what is unknown."""
    found = special.keys() & set(prompt.ids[prompt.start : prompt.end])
    unknown = tokenizer.unk_token_id
    return {number for number in found if number != unknown or special[number] in prompt.text}


def _frame(tokenizer: PreTrainedTokenizerBase) -> tuple[str, str]:
    """What the template writes before and after a question."""
    parts = _rendered(tokenizer, _PLACE).split(_PLACE)
    if len(parts) != 2:
        raise PromptError(
            f"The base model's chat template repeats or changes what is typed "
            f"({len(parts) - 1} places hold it, not 1); use a base model whose template holds "
            f"it once, as it is."
        )
    return parts[0], parts[1]


def _rendered(tokenizer: PreTrainedTokenizerBase, text: str) -> str:
    turns = [{"role": "user", "content": text}]
    template = tokenizer.chat_template
    if isinstance(template, str) and "strftime_now" in template:
        template = _NOW.sub(lambda now: now[1] + _TODAY.strftime(now[2]) + now[1], template)
        if re.search(r"strftime_now\s*\(", template):
            raise PromptError(
                "The base model's chat template writes the date in a way that cannot be held "
                "still; put a date in the place of strftime_now in its chat template."
            )
    return tokenizer.apply_chat_template(
        turns, chat_template=template, tokenize=False, add_generation_prompt=True
    )


def _special_tokens(tokenizer: PreTrainedTokenizerBase) -> dict[int, str]:
    """The tokens that mean more than their letters, by id.

    Tokenizers do not call all of them special (<think>, <|user|>). Of those that they do not,
    words, runs of spaces or line breaks, and HTML as Gemma's knows it are letters and no more.
    """
    added = tokenizer.added_tokens_decoder
    return {
        number: token.content
        for number, token in added.items()
        if token.special or (_MARK.fullmatch(token.content) and not _HTML.fullmatch(token.content))
    }


def _with_offsets(
    tokenizer: PreTrainedTokenizerBase, text: str
) -> tuple[list[int], list[tuple[int, int]]]:
    """Token ids of a rendered template, and the characters that each stands for."""
    with _one_at_a_time:
        encoding = tokenizer(
            text,
            add_special_tokens=False,
            split_special_tokens=False,
            return_offsets_mapping=True,
        )
    return encoding["input_ids"], encoding["offset_mapping"]


def _marked(
    ids: Sequence[int], offsets: Sequence[tuple[int, int]], begin: int, end: int, text: str
) -> Prompt:
    """The prompt whose words are the characters from `begin` to `end`, and all tokens of theirs."""
    inside = [i for i, (first, last) in enumerate(offsets) if first < end and last > begin]
    return Prompt(tuple(ids), inside[0], inside[-1] + 1, text)


def _joined(before: Sequence[int], words: Sequence[int], after: Sequence[int], text: str) -> Prompt:
    return Prompt((*before, *words, *after), len(before), len(before) + len(words), text)


def _in_pieces(tokenizer: PreTrainedTokenizerBase, before: str, text: str, after: str) -> Prompt:
    """The three parts tokenised apart; a tokenizer that sets a space before a piece adds some."""
    return _joined(
        encode_text(tokenizer, before, template=True),
        encode_text(tokenizer, text),
        encode_text(tokenizer, after, template=True),
        text,
    )


def _with_stand_ins(
    tokenizer: PreTrainedTokenizerBase,
    before: str,
    text: str,
    after: str,
    special: dict[int, str],
) -> Prompt:
    """A question with typed special tokens, for a tokenizer that cannot be given pieces.

    Each special token is tokenised apart and put where, in the whole, a character of nobody's
    stands for it.
    """
    names = sorted(special.values(), key=len, reverse=True)
    typed = re.compile("|".join(map(re.escape, names)))
    stand_in = next(chr(c) for c in _NOBODYS if chr(c) not in text)
    rendered = before + typed.sub(stand_in, text) + after
    begin, end = len(before), len(rendered) - len(after)
    words = iter(typed.findall(text))
    ids: list[int] = []
    offsets: list[tuple[int, int]] = []
    place = -1
    for number, (first, last) in zip(*_with_offsets(tokenizer, rendered)):
        characters = rendered[first:last].strip() if begin <= first < end else ""
        if set(characters) != {stand_in}:
            ids.append(number)
            offsets.append((first, last))
        elif first != place:  # several tokens may share the characters; they are replaced once
            pieces = [t for _ in characters for t in encode_text(tokenizer, next(words))]
            ids += pieces
            offsets += [(first, last)] * len(pieces)
            place = first
    return _marked(ids, offsets, begin, end, text)


def encode_text(tokenizer: PreTrainedTokenizerBase, text: str, template: bool = False) -> list[int]:
    """Token ids of a piece of text, nothing added.

    Args:
        tokenizer: the base model's.
        text: any piece; empty gives no token.
        template: the text is a template's: its special tokens are read as such. In all other text
            they are split like any words.
    """
    with _one_at_a_time:
        encoding = tokenizer(text, add_special_tokens=False, split_special_tokens=not template)
        return encoding["input_ids"]
