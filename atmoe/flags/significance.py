"""P-values and significance: what an answer has the other way round than its source."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from atmoe.flags.finding import Finding, Source, quote, sentence_at
from atmoe.flags.words import key, words_of

_LEVEL = 0.05
"""Below it a P-value is called significant."""

P_VALUE = re.compile(
    r"\bp(?:[\s-]*values?)?\s*(?:of|was|were|is)?\s*(?P<sign><|>|=|≤|≥|<=|>=|less than"
    r"|greater than)\s*(?P<value>0?[.·]\d+)",
    re.IGNORECASE,
)

_NOT_SIGNIFICANT = re.compile(
    r"\b(?:no|not|nor|without|neither|non|never|fail\w*|lack\w*|insignifican\w+|n['’]?s)\b"
    r"[\w\s,'-]{0,40}?\bsignifican\w+|\b(?:in|non-?)significan\w+",
    re.IGNORECASE,
)

_NO_DIFFERENCE = re.compile(
    r"\bno (?:statistically )?(?:significant )?(?:difference|association|correlation|effect"
    r"|relationship)s?\b|\b(?:did|does|do|were|was|is|are) not (?:statistically )?"
    r"(?:significantly )?(?:differ|different|associated|correlated|affect)\w*"
    r"|\bsimilar\w*|\bcomparable\b|\bn\.?s\.?\b|\bunchanged\b|\bequal\w*",
    re.IGNORECASE,
)

_FINDS_NOTHING = re.compile(f"{_NOT_SIGNIFICANT.pattern}|{_NO_DIFFERENCE.pattern}", re.IGNORECASE)

_SIGNIFICANT = re.compile(r"\bsignifican\w+", re.IGNORECASE)

_NOT_OF_STATISTICS = re.compile(
    r"\b(?:clinical\w*|if|whether|may|could|most|more)\W+(?:\w+\W+)?$", re.IGNORECASE
)


def p_values(source: Source, answer: str) -> Iterator[Finding]:
    """P-values, and what is called significant or not, that the source has the other way round."""
    theirs = list(P_VALUE.finditer(source.text))
    for match in P_VALUE.finditer(answer):
        same = [other for other in theirs if _value(other) == _value(match)]
        if same and all(_side(other) * _side(match) < 0 for other in same):
            yield _p_value(match.span(), match[0], same[0].span(), source.text)
    if source.kind == "abstract":
        yield from _significance(source, answer, theirs)


def _significance(source: Source, answer: str, theirs: list[re.Match[str]]) -> Iterator[Finding]:
    """What is called not significant beside P-values that all are, and the other way round."""
    denied = list(_NOT_SIGNIFICANT.finditer(answer))
    for match in denied:
        low = all(_value(other) <= _LEVEL and _side(other) <= 0 for other in theirs)
        if theirs and low and not _FINDS_NOTHING.search(source.text):
            where = _nearest(source, answer, match, theirs)
            yield _p_value(match.span(), match[0], where, source.text)
    for match in _SIGNIFICANT.finditer(answer):
        if _within(match, denied) or _NOT_OF_STATISTICS.search(answer[: match.start()]):
            continue
        high = all(_value(other) >= _LEVEL and _side(other) >= 0 for other in theirs)
        negated = list(_NOT_SIGNIFICANT.finditer(source.text))
        affirmed = any(not _within(m, negated) for m in _SIGNIFICANT.finditer(source.text))
        if high and (theirs or negated) and not affirmed:
            where = theirs[0].span() if theirs else negated[0].span()
            yield _p_value(match.span(), match[0], where, source.text)
            return


def _p_value(span: tuple[int, int], said: str, where: tuple[int, int], text: str) -> Finding:
    sentence = f"The answer says “{said.strip()}”; the source has “{quote(text, where)}”."
    return Finding(*span, "P-value", said, where, sentence)


def _within(match: re.Match[str], others: Sequence[re.Match[str]]) -> bool:
    """Whether it begins inside one of the others."""
    return any(other.start() <= match.start() < other.end() for other in others)


def _value(match: re.Match[str]) -> float:
    return float(match["value"].replace("·", "."))


def _side(match: re.Match[str]) -> int:
    """−1 below, 0 equal, +1 above."""
    sign = match["sign"].casefold()
    return -1 if sign[0] in "<≤l" else 1 if sign[0] in ">≥g" else 0


def _nearest(
    source: Source, answer: str, match: re.Match[str], theirs: list[re.Match[str]]
) -> tuple[int, int]:
    """The P-value whose sentence has most words of the answer's sentence."""
    own = {key(word.text) for word in words_of(sentence_at(answer, match.start()).text)}

    def common(other: re.Match[str]) -> int:
        said = sentence_at(source.text, other.start()).text
        return len(own & {key(word.text) for word in words_of(said)})

    return max(theirs, key=common).span()
