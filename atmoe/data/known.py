"""Names that a description may use of the world outside it: scripts and languages."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

_CODES = """
aa ab ae af ak am an ar as av ay az ba be bg bi bm bn bo br bs ca ce ch co cr cs cu cv cy da de dv
dz ee el en eo es et eu fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu hy hz ia id ie
ig ii ik io is it iu ja jv ka kg ki kj kk kl km kn ko kr ks ku kv kw ky la lb lg li ln lo lt lu lv
mg mh mi mk ml mn mr ms mt my na nb nd ne ng nl nn no nr nv ny oc oj om or os pa pi pl ps pt qu rm
rn ro ru rw sa sc sd se sg si sk sl sm sn so sq sr ss st su sv sw ta te tg th ti tk tl tn to tr ts
tt tw ty ug uk ur uz ve vi vo wa wo xh yi yo za zh zu
"""
LANGUAGES = frozenset(_CODES.split())
"""ISO 639-1."""


def is_script(name: str) -> bool:
    """Whether letters of Unicode are named by it, as "LATIN SMALL LETTER A" is by LATIN."""
    return any(letter.startswith(name + " ") for letter in _letters()) if name else False


def scripts() -> set[str]:
    """How Unicode's names of letters begin."""
    return {letter.partition(" ")[0] for letter in _letters()}


def _letters() -> Iterator[str]:
    for code in range(0x110000):
        letter = chr(code)
        if letter.isalpha():
            yield unicodedata.name(letter, "")
