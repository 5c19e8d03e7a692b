"""P-values and significance: what an answer has the other way round than its source."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from atmoe.flags.finding import Finding, Source, quote, sentence_at
from atmoe.flags.words import key, words_of

_LEVEL = 0.05
"""Below it a P-value is called significant."""

P_VALUE = re.compile(
    r"\bp(?:[\s-]*values?)?\s*(?:of|was|were|is)?\s*(?P<sign><|>|=|≤|≥|⩽|⩾|<=|>=|below|above"
    r"|(?:less|lower|greater|higher|more) than)\s*(?P<value>0?[.·]\d+)",
    re.IGNORECASE,
)

# Neither "No, it fell significantly" nor "not only significantly" says that nothing is.
_NOT = (
    r"(?:\b(?:no(?!\s?[,:])|not|nor|without|neither|non|never|(?<!not )fail\w*|lack\w*|n['’]?s)"
    r"|n['’]t)\b(?!\s(?:only|just|merely|doubt)\b)"
)

_MAY_DENY = re.compile(
    rf"{_NOT}(?P<between>(?:(?!{_NOT})[\w\s,'’-]){{0,40}}?)\bsignifican\w+"
    r"|\b(?:in|non-?)significan\w+"
    r"|\b(?P<nearly>far from|almost|nearly|hardly|barely|borderline|trend\w*) (?:\w+ ){0,2}"
    r"significan\w+",
    re.IGNORECASE,
)

_OF_SOMETHING_ELSE = re.compile(
    r"[,\n]|\b(?:but|and|although|though|while|whereas|yet|which|that|fail\w*)\b", re.IGNORECASE
)
"""Between "no" and "significant": "no deaths, and pain was significantly less"."""

_NO_DIFFERENCE = re.compile(
    r"\bno (?:statistically )?(?:significant )?(?:difference|association|correlation|effect"
    r"|relationship)s?\b|\b(?:did|does|do|were|was|is|are) not (?:statistically )?"
    r"(?:significantly )?(?:differ|different|associated|correlated|affect)\w*"
    r"|\bsimilar\w*|\bcomparable\b|\bn\.?s\.?\b|\bunchanged\b|\bequal\w*",
    re.IGNORECASE,
)

_FINDS_NOTHING = re.compile(f"{_MAY_DENY.pattern}|{_NO_DIFFERENCE.pattern}", re.IGNORECASE)

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
    for match in _denials(answer):
        low = all(_value(other) <= _LEVEL and _side(other) <= 0 for other in theirs)
        if theirs and low and not _FINDS_NOTHING.search(source.text):
            where = _nearest(source, answer, match, theirs)
            yield _p_value(match.span(), match[0], where, source.text)
    unsure = list(_MAY_DENY.finditer(answer))
    for match in _SIGNIFICANT.finditer(answer):
        if _within(match, unsure) or _NOT_OF_STATISTICS.search(answer[: match.start()]):
            continue
        high = all(_value(other) >= _LEVEL and _side(other) >= 0 for other in theirs)
        negated = _denials(source.text)
        affirmed = any(not _within(m, negated) for m in _SIGNIFICANT.finditer(source.text))
        if high and (theirs or negated) and not affirmed:
            where = theirs[0].span() if theirs else negated[0].span()
            yield _p_value(match.span(), match[0], where, source.text)
            return


def _denials(text: str) -> list[re.Match[str]]:
    """Where a text says that something is not significant, and it cannot be read otherwise."""
    return [
        match
        for match in _MAY_DENY.finditer(text)
        if not match["nearly"] and not _OF_SOMETHING_ELSE.search(match["between"] or "")
    ]


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
    return -1 if sign[0] in "<≤⩽bl" else 1 if sign[0] in ">≥⩾aghm" else 0


def _nearest(
    source: Source, answer: str, match: re.Match[str], theirs: list[re.Match[str]]
) -> tuple[int, int]:
    """The P-value whose sentence has most words of the answer's sentence."""
    own = {key(word.text) for word in words_of(sentence_at(answer, match.start()).text)}

    def common(other: re.Match[str]) -> int:
        said = sentence_at(source.text, other.start()).text
        return len(own & {key(word.text) for word in words_of(said)})

    return max(theirs, key=common).span()
