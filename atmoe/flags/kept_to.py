"""Does an answer keep to what it was given? What it says that its source does not hold.

    prompt ─ source_of ─► dialogue or abstract ─┐
    answer ─ numbers, P-values, names, denials ─┴─► findings, each with where the source differs

number     a number in figures or words that the source does not hold, nor implies
unit       a number that the source holds with another unit only
P-value    "P<0.05" where the source has it the other way round; "no significant difference" beside
           P=0.02; "significant" where the source finds nothing to be so
name       a drug, disease or symptom that the source does not name, in any of its forms
negation   "denies chest pain" where the source affirms it, and the other way round

Few findings that hold are worth more than many that do not: whatever can be read in two ways is
passed over. The tables are in `kept_to.json`. A finding says what stands in the two texts, never
that the answer is wrong; an answer without findings may be wrong as well.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from functools import cache, cached_property, lru_cache
from typing import Any, NamedTuple

from atmoe.data.text import count_words
from atmoe.flags.numbers import DATE, Held, Number, numbers_of, table
from atmoe.flags.words import Piece, key, words_of

KINDS = ("number", "unit", "P-value", "name", "negation")
LEAST_WORDS = 40
"""A shorter text without turns of speech is a question, not an abstract."""
LEAST_MARKS = 2
LEAST_SPEAKERS = 2
_MERE_COUNTS = ("two", "three")
"""So many things may stand in a source one by one ("a brother and a sister")."""
_QUOTED = 70
"""Letters of a source that a sentence quotes at most."""
_STEM = 6
"""Two names with the same first letters are forms of one."""
HELD_BY = "~"
"""Marks a form that shows that a source speaks of a thing, and is no name of it."""
_LEVEL = 0.05
"""Below it a P-value is called significant."""

_TURN = re.compile(r"^[ \t]*(?P<who>[A-Z][\w. ]{0,24}?)[ \t]*:[ \t]*(?P<said>.*)$", re.MULTILINE)
_SPEAKERS = re.compile(
    r"^(?:doctor|dr|patient|pt|guest|physician|clinician|nurse|provider|therapist|d|p)\b|^guest_",
    re.IGNORECASE,
)
_ABSTRACT_MARKS = tuple(
    re.compile(form, re.IGNORECASE)
    for form in (
        r"\b(?:methods?|results?|objectives?|background|aims?|purpose|design|setting)\s*:",
        r"\bp\s*[=<>≤≥]",
        r"\d\s*%",
        r"\b(?:95% ci|confidence interval|odds ratio|hazard ratio|relative risk)\b",
        r"\b(?:retrospective|prospective|randomi[sz]ed|cohort|controlled trial|cross-sectional)",
        r"\b(?:patients|subjects|participants|children|women|men|cases)"
        r" (?:were|was|who|with|underwent)\b",
        r"\b(?:study|studies|trial|survey|analy[sz]ed|evaluated|investigated|assessed|compar(?:ed|ing))\b",
        r"\b(?:significant|associat|correlat)\w*",
    )
)
_SENTENCE = re.compile(r"[^.!?\n]*(?:\.(?=\d)[^.!?\n]*)*[.!?\n]?")
_DENIAL = re.compile(
    r"\b(?:no|not|never|without|den(?:y|ies|ied|ying)|negative for|none|nor|neither|cannot"
    r"|absence of|free of)\b|\bnon-?(?=smok|drink)|n['’]t\b",
    re.IGNORECASE,
)
# After them a denial is not of the thing itself ("no change in", "no longer").
_OF_SOMETHING_ELSE = re.compile(
    r"\s*(?:any\s+)?(?:new|recent|further|longer|more|changes?|significant\w*|worsening|other|additional"
    r"|increase\w*|sure|only|known|problems?|issues?|trouble|difficulty|family|prior|previous|past"
    r"|matter|doubt|wonder|relief|improvement)\b",
    re.IGNORECASE,
)
_TURNS_AWAY = re.compile(
    r"\b(?:but|except|however|although|though|other than|apart from|besides|has|have|had|reports?"
    r"|states?|positive|occasional\w*|because|since|due to|until)\b|;",
    re.IGNORECASE,
)
_UNSURE = re.compile(
    r"\b(?:if|maybe|perhaps|might|may|could|would|should|think|rule out|risk|possib\w+|probab\w+"
    r"|likely|unless|used to|quit|stop\w*|ago|before|previous\w*|former\w*|past|history|sometimes"
    r"|occasion\w*|rarely|screen\w*|prevent\w*|suspect\w*|consider\w*|little|better|resolved"
    r"|absent|negative|normal|unremarkable"
    r"|improv\w+|gone|went away|follow.up|when|anymore|any more|longer|only|just|except)\b",
    re.IGNORECASE,
)
_OTHERS = re.compile(
    r"\b(?:mother|father|mom|mum|dad|parents?|sisters?|brothers?|siblings?|sons?|daughters?|aunts?"
    r"|uncles?|grand\w+|cousins?|famil\w+|wife|husband|spouse|friends?|relatives?|child\w*"
    r"|anyone|everyone|paternal|maternal|someone|they)\b",
    re.IGNORECASE,
)
_YES = re.compile(r"^(?:yes|yeah|yep|yup|yea|i do|i have|i am|sure do|he does|she does)\b", re.I)
_NO = re.compile(r"^(?:no|nope|nah|never|none|not at all|i don['’]?t|i do not)\b", re.I)
_P_VALUE = re.compile(
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


_ASKS = re.compile(r"(?:doctor|dr|physician|clinician|nurse|provider|therapist|d)\b", re.IGNORECASE)
"""Whose statements are mostly questions without their mark."""


class Source(NamedTuple):
    """What a prompt gives to be kept to: the prompt itself, and of which kind it is."""

    kind: str
    text: str


@dataclass(frozen=True)
class Finding:
    """Something an answer says that its source does not hold, or holds the other way round.

    Attributes:
        start: of its first character in the answer.
        end: after its last.
        kind: one of KINDS.
        says: what stands there.
        source: first character and end of where the prompt says otherwise; None where it says
            nothing.
        sentence: what was found, for a reader.
    """

    start: int
    end: int
    kind: str
    says: str
    source: tuple[int, int] | None
    sentence: str

    def to_dict(self) -> dict[str, Any]:
        """What JSON takes."""
        return {**asdict(self), "source": self.source and list(self.source)}


class _Mention(NamedTuple):
    """A thing of the table's concepts where a text names it, and whether it is affirmed there.

    affirmed: None where it can be read in two ways.
    """

    name: str
    start: int
    end: int
    affirmed: bool | None
    at: tuple[int, int]


def source_of(prompt: str) -> Source | None:
    """What a prompt gives to be kept to: a dialogue, an abstract, or None."""
    speakers = {match["who"] for match in _TURN.finditer(prompt)}
    if sum(bool(_SPEAKERS.match(who)) for who in speakers) >= LEAST_SPEAKERS:
        return Source("dialogue", prompt)
    marks = sum(bool(mark.search(prompt)) for mark in _ABSTRACT_MARKS)
    if count_words(prompt) >= LEAST_WORDS and marks >= LEAST_MARKS:
        return Source("abstract", prompt)
    return None


def findings(prompt: str, answer: str) -> tuple[Finding, ...]:
    """What an answer says that its prompt's source does not hold, by place in the answer.

    Args:
        prompt: what a person typed, the source in it.
        answer: to be held against it.

    Returns:
        () also where the prompt holds no source.
    """
    source = source_of(prompt)
    if source is None:
        return ()
    found = [
        *_numbers(source, answer),
        *_p_values(source, answer),
        *_names(source, answer),
        *_negations(source, answer),
    ]
    return tuple(sorted(found, key=_place))


def _place(finding: Finding) -> tuple[int, int, int]:
    return finding.start, finding.end, KINDS.index(finding.kind)


# -- numbers and units --------------------------------------------------------------------------


def _numbers(source: Source, answer: str) -> Iterator[Finding]:
    held = Held(source.text)
    in_p_values = [match.span() for match in _P_VALUE.finditer(answer)]
    for date in DATE.finditer(answer):
        if not held.holds_date(date[0]):
            sentence = f"The answer says {date[0]}; the source does not hold this date."
            yield Finding(*date.span(), "number", date[0], None, sentence)
    for number in numbers_of(answer):
        if number.text.casefold() in _MERE_COUNTS and not number.unit:
            continue
        in_p = any(start <= number.start < end for start, end in in_p_values)
        if not held.holds(number):
            if not (in_p and number.values <= {0.05, 0.01, 0.001}):
                yield _number(source, answer, number, held, in_p)
        elif number.unit:
            yield from _unit(source, answer, number, held)


def _number(source: Source, answer: str, number: Number, held: Held, in_p: bool) -> Finding:
    """What is said of a number that the source does not hold."""
    where = None
    if in_p:
        others = list(_P_VALUE.finditer(source.text))
        where = others[0].span() if len(others) == 1 else None
    elif number.unit:
        same = [n for n in held.numbers if n.unit == number.unit]
        places = {(n.text.casefold(), n.start, n.end) for n in same}
        if len({text for text, _, _ in places}) == 1:
            where = (same[0].start, same[0].end)
    said = _with_unit(answer, number.start, number.end, number.unit)
    if where is None:
        sentence = f"The answer says {said}; the source does not hold this number."
    else:
        unit = "" if in_p else number.unit
        sentence = (
            f"The answer says {said}; the source has {_with_unit(source.text, *where, unit)}."
        )
    return Finding(number.start, number.end, "number", number.text, where, sentence)


def _unit(source: Source, answer: str, number: Number, held: Held) -> Iterator[Finding]:
    """A number of the source with another unit than any that it has there."""
    same = [n for n in held.numbers if n.values & number.values]
    units = {n.unit for n in same}
    days = table()["days of"]
    alike = [{number.unit, unit} for unit in units if unit]
    if (
        not same
        or "" in units
        or number.unit in units
        or (any(number.unit in days and unit in days for unit in units) and len(same) > 1)
        or any(sorted(pair) in [sorted(p) for p in table()["alike units"]] for pair in alike)
    ):
        return
    where = (same[0].start, same[0].end)
    said = _with_unit(answer, number.start, number.end, number.unit)
    other = _with_unit(source.text, *where, same[0].unit)
    sentence = f"The answer says {said}; the source has {other}."
    yield Finding(number.start, number.end, "unit", number.text, where, sentence)


def _with_unit(text: str, start: int, end: int, unit: str) -> str:
    """What stands at a place, and the unit that follows, as it is written there."""
    if not unit:
        return text[start:end]
    after = re.compile(r"[\s-]{0,2}(?:%|[^\W\d_]+)(?:-old\b)?").match(text, end)
    return text[start : after.end()] if after else text[start:end]


# -- P-values -----------------------------------------------------------------------------------


def _p_values(source: Source, answer: str) -> Iterator[Finding]:
    theirs = list(_P_VALUE.finditer(source.text))
    for match in _P_VALUE.finditer(answer):
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
    sentence = f"The answer says “{said.strip()}”; the source has “{_quote(text, where)}”."
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
    own = {key(word.text) for word in words_of(_sentence_at(answer, match.start()).text)}

    def common(other: re.Match[str]) -> int:
        said = _sentence_at(source.text, other.start()).text
        return len(own & {key(word.text) for word in words_of(said)})

    return max(theirs, key=common).span()


# -- names --------------------------------------------------------------------------------------


def _names(source: Source, answer: str) -> Iterator[Finding]:
    held = _Vocabulary(source.text)
    taken: list[tuple[int, int]] = []
    reported: set[str] = set()
    for name, match in _concepts_in(answer):
        if any(start < match.end() and match.start() < end for start, end in taken):
            continue
        taken.append(match.span())
        if (
            not _forms(name).search(source.text)
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
    if word in _set("no names"):
        return False
    if word in _set("drug names"):
        return True
    singular = word.removesuffix("s") if word.endswith(("mas", "pathies")) else word
    return len(word) > 6 and bool(_endings().search(singular))


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
            for forms in map(_forms, table()["concepts"])
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
        return any(self._squeezed.find(other) >= 0 for other in _also_called().get(plain, ()))


# -- negations ----------------------------------------------------------------------------------


def _negations(source: Source, answer: str) -> Iterator[Finding]:
    if source.kind != "dialogue":
        return
    theirs = list(_mentions_in_dialogue(source.text))
    for mine in _mentions(answer):
        if mine.affirmed is None:
            continue
        other = [mention for mention in theirs if mention.name == mine.name]
        against = [mention for mention in other if mention.affirmed is (not mine.affirmed)]
        # A denial must have no denial for it; an affirmation nothing that might be one.
        spoken_for = any(mention.affirmed is mine.affirmed for mention in other)
        unclear = mine.affirmed and len(against) < len(other)
        if not against or spoken_for or unclear:
            continue
        where = against[0].at
        start, end = mine.at
        said = answer[start:end].strip()
        sentence = f"The answer says “{said}”; the source has “{_quote(source.text, where)}”."
        yield Finding(
            mine.start, mine.end, "negation", answer[mine.start : mine.end], where, sentence
        )


def _mentions(text: str) -> Iterator[_Mention]:
    """Concepts in plain statements, affirmed or denied; those of another person are left out."""
    for name, match in _concepts_in(text):
        sentence = _sentence_at(text, match.start())
        if "?" in sentence.text or _OTHERS.search(sentence.text):
            continue
        yield _mention(name, match, sentence)


def _mention(name: str, match: re.Match[str], sentence: Piece) -> _Mention:
    """Whether a sentence affirms what it names."""
    before = sentence.text[: match.start() - sentence.start]
    affirmed: bool | None = None
    at = (match.start(), match.end())
    own = match[0].casefold()
    if own.startswith(("non", "afebrile", "nk")):
        denied = False if own.startswith("non") else None
        return _Mention(name, match.start(), match.end(), denied, at)
    denials = list(_DENIAL.finditer(before))
    if denials:
        after = before[denials[-1].end() :]
        double = len(denials) > 1 and not re.search(
            r",|\b(?:and|or|nor)\b", before[denials[-2].end() : denials[-1].end()], re.I
        )
        if not (_TURNS_AWAY.search(after) or _OF_SOMETHING_ELSE.match(after) or double):
            affirmed = False
            at = (sentence.start + denials[-1].start(), match.end())
    elif not _UNSURE.search(sentence.text) and not _DENIAL.search(sentence.text):
        affirmed = True
    return _Mention(name, match.start(), match.end(), affirmed, at)


def _mentions_in_dialogue(text: str) -> Iterator[_Mention]:
    """Concepts in the turns of a dialogue: stated, or asked about and answered with yes or no."""
    turns = list(_TURN.finditer(text))
    for turn, following in zip(turns, [*turns[1:], None]):
        begin, end = turn.span("said")
        for name, match in _concepts_in(text, begin, end):
            sentence = _sentence_at(text, match.start(), begin)
            if _OTHERS.search(sentence.text):
                yield _unclear(name, match)
            elif "?" in sentence.text:
                yield _asked(name, match, sentence, following)
            elif _ASKS.match(turn["who"]) or (
                _NO.match(sentence.text.strip()) and "," in sentence.text
            ):
                yield _unclear(name, match)
            else:
                mention = _mention(name, match, sentence)
                where = (sentence.start, sentence.end)
                yield mention._replace(at=where if mention.affirmed is not None else match.span())


def _unclear(name: str, match: re.Match[str]) -> _Mention:
    return _Mention(name, match.start(), match.end(), None, match.span())


def _asked(
    name: str, match: re.Match[str], sentence: Piece, following: re.Match[str] | None
) -> _Mention:
    """What a question names: affirmed or denied by the reply's first word."""
    unsure = _unclear(name, match)
    if following is None or _DENIAL.search(sentence.text):
        return unsure
    reply = following["said"].strip()
    things = {other for other, _ in _concepts_in(sentence.text)}
    alone = len(things) == 1 and not re.search(r"\b(?:or|and)\b|,", sentence.text)
    opening = re.split(r"(?<=[.!?])\s", reply)[0]
    rest = reply[len(opening) :]
    if _UNSURE.search(reply) or re.search(r"\bbut\b", reply, re.I) or _OTHERS.search(reply):
        return unsure
    where = (match.string.index(sentence.text.strip(), sentence.start), following.end("said"))
    if _YES.match(reply) and alone and not _DENIAL.search(reply):
        return unsure._replace(affirmed=True, at=where)
    if _NO.match(reply) and not any(n == name for n, _ in _concepts_in(rest)):
        return unsure._replace(affirmed=False, at=where)
    return unsure


# -- tables and texts ---------------------------------------------------------------------------


def _concepts_in(
    text: str, start: int = 0, end: int | None = None
) -> Iterator[tuple[str, re.Match[str]]]:
    """The concepts that a stretch of a text names, and where; the table's order, then by place."""
    stop = len(text) if end is None else end
    for name, match in _all_concepts(text):
        if start <= match.start() and match.end() <= stop:
            yield name, match


@lru_cache(maxsize=8)
def _all_concepts(text: str) -> tuple[tuple[str, re.Match[str]], ...]:
    return tuple(
        (name, match) for name, pattern in _concepts().items() for match in pattern.finditer(text)
    )


@cache
def _concepts() -> Mapping[str, re.Pattern[str]]:
    return {
        name: _any_of(form for form in forms if not form.startswith(HELD_BY))
        for name, forms in table()["concepts"].items()
    }


@cache
def _forms(name: str) -> re.Pattern[str]:
    """All that counts as a mention of a concept in a source."""
    return _any_of(form.removeprefix(HELD_BY) for form in table()["concepts"][name])


def _any_of(forms: Iterable[str]) -> re.Pattern[str]:
    return re.compile(rf"\b(?:{'|'.join(forms)})(?!\w)", re.IGNORECASE)


@cache
def _set(name: str) -> frozenset[str]:
    return frozenset(table()[name])


@cache
def _endings() -> re.Pattern[str]:
    endings = [*table()["drug endings"], *table()["disease endings"]]
    return re.compile(rf"(?:{'|'.join(endings)})$")


@cache
def _also_called() -> Mapping[str, tuple[str, ...]]:
    names = {}
    for group in table()["same drug"]:
        for name in group:
            names[name] = tuple(other for other in group if other != name)
    return names


def _sentence_at(text: str, at: int, begin: int = 0) -> Piece:
    """The sentence of a text that a place lies in."""
    ends = _sentence_ends(text)
    n = bisect_right(ends, at)
    start = max(ends[n - 1] if n else 0, begin)
    end = ends[n] if n < len(ends) else len(text)
    return Piece(start, end, text[start:end])


@lru_cache(maxsize=8)
def _sentence_ends(text: str) -> list[int]:
    """Where the sentences of a text end, each line at its end at the latest."""
    return [match.end() for match in _SENTENCE.finditer(text) if match[0]]


def _quote(text: str, where: tuple[int, int]) -> str:
    """What stands at a place, not too much of it."""
    said = " ".join(text[slice(*where)].split())
    return said if len(said) <= _QUOTED else said[:_QUOTED].rsplit(" ", 1)[0] + " …"
