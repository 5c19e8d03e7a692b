"""Writes a need the way people do: a small grammar (`wordings.json`) over the phrases of a need.

    kind, audience --rules--> "{who} {was} diagnosed with {x}. what causes {it}?"
                                    |
             a person and a name ---+--style--> "my dad was diagnoised with gout, wat causes it"

A rule is a list of alternatives; `<symbol>` in one of them is another rule, or a form of the need
("question", "noun", "indirect", …). `<symbol?>` may stay away; `<b:symbol>` is about the second of
two needs, `<other:symbol>` about one that is expressly not meant. `{x}` and `{late}` are the name
of the disease, `{it}` is its name where it is not named yet and nothing says that it will be.

Every rule, phrase, person and slip of the pen belongs to one split: what is drawn for evaluation is
written by rules that training never sees. Worries and stories go with every need alike.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from atmoe.data.labels import task_of

SLOT = "{x}"
AUDIENCES = ("patient", "reference", "professional")

_SYMBOL = re.compile(r"<(?:(?P<role>b|other):)?(?P<symbol>[^<>?]+)(?P<maybe>\?)?>")
_NAMING = re.compile(r"\{(?:x|it|late)\}")
# Where a sentence begins: its first letter is the group.
_BEGINNING = re.compile(
    r"(?:^|(?<=[.?!] )|(?<=[.?!]\) )|(?<=\n)|(?<=message: )|(?<=question: )"
    r"|(?<=subject: )|(?<=re: ))([a-z])",
    re.IGNORECASE,
)
_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*")

_I = {
    "who": "I",
    "whom": "me",
    "they": "I",
    "them": "me",
    "their": "my",
    "has": "have",
    "is": "am",
    "was": "was",
    "does": "do",
}
_OTHERS = {"has": "has", "is": "is", "was": "was", "does": "does"}
_PRONOUNS = {"she": ("her", "her"), "he": ("him", "his")}

# How carefully patients write: (style, share) by split. Clinicians hurry in one way only.
_STYLES = {
    "train": {"plain": 0.5, "lower": 0.2, "misspelt": 0.25, "capitals": 0.05},
    "evaluation": {"plain": 0.55, "hasty": 0.3, "unmarked": 0.15},
}
# How often a word that has a usual misspelling is misspelt, and a long word has a slip.
_MISSPELT_WORD = 0.6
_SLIP = 0.07
_MISSPELT_NAME = 0.3
_LONG_WORD, _LONG_NAME = 5, 7
_ABBREVIATED = {"professional": 0.7, "patient": 0.15}
_KEYBOARD = ("qwertyuiop", "asdfghjkl", "zxcvbnm")


def kinds() -> tuple[str, ...]:
    """The kinds of question that there are phrases for: MedQuAD's question types."""
    return tuple(table()["needs"])


def written(
    kind: str,
    audience: str,
    name: str,
    rng: random.Random,
    split: str = "train",
    second: str | None = None,
) -> str:
    """A question of a kind about a disease, as somebody of an audience may put it.

    Args:
        kind: one of `kinds()`.
        audience: "patient", "reference" or "professional".
        name: the disease, as it stands inside a sentence.
        rng: the same one writes the same text.
        split: "train" or "evaluation": they share no rule and no phrase.
        second: another kind that is asked for in the same breath.
    """
    everything = table()
    start = audience if second is None else f"{audience}, two needs"
    needs = {"": kind, "b": second or "", "other": rng.choice(_other_kinds(kind))}
    phrases = {
        role: everything["needs"][need][split]
        for role, need in needs.items()
        if need in everything["needs"]
    }
    rules = {**everything["rules"]["both"], **everything["rules"][split]}
    text = _Expansion(rules, phrases, rng).of(start)
    text = _filled(text, _person(rng, split))
    text = _named_once(text)
    text = _BEGINNING.sub(lambda match: match[1].upper(), _spaced(text))
    return _styled(text, _called(name, audience, rng), audience, rng, split)


class _Expansion:
    """One text grown out of a start symbol; wordings are not repeated where there are others."""

    def __init__(
        self,
        rules: Mapping[str, Any],
        phrases: Mapping[str, Mapping[str, Sequence[str]]],
        rng: random.Random,
    ):
        self._rules = rules
        self._phrases = phrases
        self._rng = rng
        self._said: set[str] = set()

    def of(self, symbol: str, role: str = "") -> str:
        """The text of a symbol; what stands inside it is about the same need."""
        text = self._choice(symbol, role)

        def inside(match: re.Match[str]) -> str:
            if match["maybe"] and self._rng.random() < 0.5:
                return ""
            return self.of(match["symbol"], match["role"] or role)

        return _SYMBOL.sub(inside, text)

    def _choice(self, symbol: str, role: str) -> str:
        forms = self._phrases[role]
        rule = forms[symbol] if symbol in forms else self._rules[symbol]
        weights = rule if isinstance(rule, dict) else dict.fromkeys(rule, 1)
        fresh = {text: weight for text, weight in weights.items() if text not in self._said}
        weights = fresh or weights
        (text,) = self._rng.choices(list(weights), list(weights.values()))
        if _SYMBOL.sub("", text).strip():
            self._said.add(text)
        return text


def _other_kinds(kind: str) -> list[str]:
    """Those that no reader takes for this one: another task's."""
    return [other for other in kinds() if task_of(other) != task_of(kind)]


def _person(rng: random.Random, split: str) -> dict[str, str]:
    """Whom a text is about, as the slots of its sentences: the writer, or somebody near."""
    if rng.random() < 0.4:
        return _I
    pronoun = rng.choice(sorted(_PRONOUNS))
    them, their = _PRONOUNS[pronoun]
    who = rng.choice(table()["persons"][split][pronoun])
    return {"who": who, "whom": who, "they": pronoun, "them": them, "their": their, **_OTHERS}


def _filled(text: str, slots: Mapping[str, str]) -> str:
    for slot, value in slots.items():
        text = text.replace(f"{{{slot}}}", value)
    return text


def _named_once(text: str) -> str:
    """The text with one slot for the name, {x}, and "it" where the name is known or comes later."""
    known = "{late}" in text

    def named(match: re.Match[str]) -> str:
        nonlocal known
        if match[0] == "{it}" and known:
            return "it"
        known = True
        return SLOT

    return _NAMING.sub(named, text)


def _spaced(text: str) -> str:
    return "\n".join(" ".join(line.split()) for line in text.strip().split("\n"))


def _called(name: str, audience: str, rng: random.Random) -> str:
    """The name, or a common abbreviation of it."""
    everything = table()
    short = everything["abbreviations"].get(name.lower(), [])
    if audience != "professional":
        short = [word for word in short if word in everything["known_to_patients"]]
    if short and rng.random() < _ABBREVIATED.get(audience, 0):
        return rng.choice(short)
    return name


# --- how carefully it is written


def _styled(text: str, name: str, audience: str, rng: random.Random, split: str) -> str:
    """The text with the name in it, in a style drawn for the audience."""
    if audience == "reference":
        return text.replace(SLOT, name)
    if audience == "professional":
        text = text.rstrip("?") if rng.random() < 0.3 else text
        lower = rng.random() < 0.3
        return _around_name(text, str.lower if lower else str).replace(SLOT, name)
    styles = _STYLES[split]
    (style,) = rng.choices(list(styles), list(styles.values()))
    if style == "capitals":
        return _around_name(text, str.upper).replace(SLOT, name.upper())
    if style == "unmarked":
        text = re.sub(r"[?.!](?=\s|$)", lambda _: rng.choice(["", " -", " ..."]), text)
        return " ".join(text.replace(SLOT, name.lower()).rstrip(" -.").split())
    if style in ("misspelt", "hasty"):
        text = _around_name(text, lambda piece: _misspelt(piece, rng, split))
        name = _misspelt_name(name, rng, split)
    if style in ("lower", "misspelt"):
        text = _around_name(text, str.lower).replace("'", "")
        text = text.replace("?", "") if rng.random() < 0.5 else text
        text = text.replace(". ", ", ") if rng.random() < 0.4 else text
        name = name.lower() if rng.random() < 0.7 else name
    return text.replace(SLOT, name)


def _around_name(text: str, change: Callable[[str], str]) -> str:
    return SLOT.join(change(piece) for piece in text.split(SLOT))


def _misspelt(text: str, rng: random.Random, split: str) -> str:
    usual = table()["misspellings"][split]

    def word(match: re.Match[str]) -> str:
        plain = match[0]
        if plain.lower() in usual and rng.random() < _MISSPELT_WORD:
            return usual[plain.lower()]
        if len(plain) >= _LONG_WORD and rng.random() < _SLIP:
            return _slip(plain, rng, split)
        return plain

    return _WORD.sub(word, text)


def _misspelt_name(name: str, rng: random.Random, split: str) -> str:
    """The name with at most one slip, in a word long enough to be known by the rest."""
    long = [m for m in _WORD.finditer(name) if len(m[0]) >= _LONG_NAME]
    if not long or rng.random() > _MISSPELT_NAME:
        return name
    word = rng.choice(long)
    return name[: word.start()] + _slip(word[0], rng, split) + name[word.end() :]


def _slip(word: str, rng: random.Random, split: str) -> str:
    """The word with one letter wrong, not the first.

    In training one is dropped or two change places; in evaluation one is doubled or its neighbour
    on the keyboard is hit.
    """
    at = rng.randrange(1, len(word) - 1)
    before, letter, rest = word[:at], word[at], word[at + 1 :]
    first_way = rng.random() < 0.5
    if split == "train":
        return before + rest if first_way else before + rest[0] + letter + rest[1:]
    return before + (letter + letter if first_way else _beside(letter)) + rest


def _beside(letter: str) -> str:
    """The key to the right of a letter's, or to the left where its row ends; others stay."""
    for row in _KEYBOARD:
        if letter in row:
            at = row.index(letter)
            return row[at + 1] if at + 1 < len(row) else row[at - 1]
    return letter


@cache
def table() -> dict:
    """Everything that `wordings.json` holds."""
    return json.loads((Path(__file__).parent / "wordings.json").read_text("utf-8"))
