"""Names of drugs, diseases and symptoms in an answer that its source does not name, in any form."""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import get_close_matches
from functools import cached_property

from atmoe.flags.concepts import also_called, concepts_in, endings, forms_of, word_set
from atmoe.flags.finding import Finding, Source
from atmoe.flags.numbers import table
from atmoe.flags.words import key, words_of

_STEM = 6
"""Two names with the same first letters are forms of one."""


def names(source: Source, answer: str) -> Iterator[Finding]:
    """Names in an answer that its source does not hold, each once."""
    held = _Vocabulary(source.text)
    taken: list[tuple[int, int]] = []
    reported: set[str] = set()
    for name, match in concepts_in(answer):
        if any(start < match.end() and match.start() < end for start, end in taken):
            continue
        taken.append(match.span())
        if (
            not forms_of(name).search(source.text)
            and not held.near(match[0])
            and name not in reported
        ):
            reported.add(name)
            yield _name(match.start(), match.end(), match[0], None, source)
    for word in words_of(answer):
        if any(start < word.end and word.start < end for start, end in taken):
            continue
        plain = word.text.casefold()
        if not _is_name(plain) or plain in reported or held.near(plain) or held.speaks_of(plain):
            continue
        reported.add(plain)
        like = get_close_matches(plain, held.words, n=1, cutoff=0.84)
        where = held.places[like[0]] if like else None
        yield _name(word.start, word.end, word.text, where, source)


def _name(
    start: int, end: int, said: str, where: tuple[int, int] | None, source: Source
) -> Finding:
    if where is None:
        sentence = f"The answer names “{said}”; the source does not."
    else:
        sentence = f"The answer names “{said}”; the source has “{source.text[slice(*where)]}”."
    return Finding(start, end, "name", said, where, sentence)


def _is_name(word: str) -> bool:
    """Whether a word, in lower case, is a drug's name or a disease's by its ending or by itself."""
    if word in word_set("no names"):
        return False
    if word in word_set("drug names"):
        return True
    singular = word.removesuffix("s") if word.endswith(("mas", "pathies")) else word
    return len(word) > 6 and bool(endings().search(singular))


class _Vocabulary:
    """The words of a source, and what counts as one of them."""

    def __init__(self, text: str):
        self._text = text
        self.places: dict[str, tuple[int, int]] = {}
        for word in words_of(text):
            self.places.setdefault(word.text.casefold(), (word.start, word.end))

    @property
    def words(self) -> list[str]:
        return list(self.places)

    @cached_property
    def _keys(self) -> frozenset[str]:
        return frozenset(map(key, self.places))

    @cached_property
    def _stems(self) -> frozenset[str]:
        return frozenset(word[:_STEM] for word in self.places)

    @cached_property
    def _squeezed(self) -> str:
        return re.sub(r"[\W_]", "", self._text).casefold()

    def speaks_of(self, name: str) -> bool:
        """Whether a name is a form of one of the table's concepts that stands there."""
        return any(
            forms.fullmatch(name) and forms.search(self._text)
            for forms in map(forms_of, table()["concepts"])
        )

    def near(self, name: str) -> bool:
        """Whether a name stands there in some form, spelling, or under another name."""
        plain = name.casefold()
        if re.sub(r"[\W_]", "", plain) in self._squeezed:
            return True
        if " " not in plain and (key(plain) in self._keys or plain[:_STEM] in self._stems):
            return True
        if plain.startswith(("an", "hyper", "hypo")) and any(
            plain.replace("ae", "e") == word.replace("ae", "e") for word in self.places
        ):
            return True
        return any(self._squeezed.find(other) >= 0 for other in also_called().get(plain, ()))
