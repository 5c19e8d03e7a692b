"""What a dialogue affirms and a note of it denies, and the other way round."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from atmoe.flags.concepts import concepts_in
from atmoe.flags.finding import TURN, Finding, Source, quote, sentence_at
from atmoe.flags.words import Piece

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

_AFFIRMS = (
    r"(?:has|have|had|having|is|are|was|were|reports?|reported|reporting|states?|stat(?:ed|ing)"
    r"|complain\w*|endors\w+|admit\w*|not(?:es|ed|ing)|describ\w+|experienc\w+|develop\w*"
    r"|present\w*|suffer\w*|show\w*|gets?|getting|feels?|feeling|mention\w*|says?|said)"
)
"""What a sentence goes on with to what there is, but for where "does not" stands before it."""

_TURNS_AWAY = re.compile(
    rf"\b(?:but|except|however|although|though|yet|while|with|yes|only|just|other than|apart from"
    rf"|besides|{_AFFIRMS}|positive|occasional\w*|because|since|due to|until"
    r"|\w+ed\s+(?:for|by))\b|[;:–—]",
    re.IGNORECASE,
)

_VERB = re.compile(rf"\s*(?:been\s+)?{_AFFIRMS}\b(?:\s+(?:had|been|having)\b)?", re.IGNORECASE)
"""Right behind a denial it is denied itself: "does not have", "denies having"."""

_IN_PART = re.compile(
    r"\b(?:as|so|too|much|many|lot|enough|always|every|constant\w*|usual\w*|really|bad|severe\w*"
    r"|this|that|these|those|now|today|yet|all|at (?:present|the moment)|currently)\b",
    re.IGNORECASE,
)
"""Then the thing is not denied altogether: "I don't have as much pain"."""

_UNSURE = re.compile(
    r"\b(?:if|maybe|perhaps|might|may|could|would|should|think|rule out|risk|possib\w+|probab\w+"
    r"|likely|unless|used to|quit|stop\w*|ago|before|previous\w*|former\w*|past|history|sometimes"
    r"|occasion\w*|rarely|screen\w*|prevent\w*|suspect\w*|consider\w*|little|better|resolved"
    r"|absent|negative|normal|unremarkable"
    r"|improv\w+|gone|went away|follow.up|when|anymore|any more|nothing (?:right )?now"
    r"|longer|only|just|except)\b",
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

_ASKS = re.compile(r"(?:doctor|dr|physician|clinician|nurse|provider|therapist|d)\b", re.IGNORECASE)
"""Whose statements are mostly questions without their mark."""

_NEW_CLAUSE = re.compile(r",\s*(?:(?!or\b|nor\b)\w+\s+){0,2}$", re.IGNORECASE)
_OF_ITS_OWN = re.compile(r"\s+(?:is|are|was|were|has|have|had)\b", re.IGNORECASE)
"""Before and behind a thing that begins a clause: "no rash, fever is present"."""

_LIKE_THIS = re.compile(r"\s+(?:like|as bad as) (?:this|that)\b", re.IGNORECASE)


class _Mention(NamedTuple):
    """A thing of the table's concepts where a text names it, and whether it is affirmed there.

    affirmed: None where it can be read in two ways.
    """

    name: str
    start: int
    end: int
    affirmed: bool | None
    at: tuple[int, int]


def negations(source: Source, answer: str) -> Iterator[Finding]:
    """What an answer affirms and a dialogue denies, and the other way round."""
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
        sentence = f"The answer says “{said}”; the source has “{quote(source.text, where)}”."
        yield Finding(
            mine.start, mine.end, "negation", answer[mine.start : mine.end], where, sentence
        )


def _mentions(text: str) -> Iterator[_Mention]:
    """Concepts in plain statements, affirmed or denied; those of another person are left out."""
    for name, match in concepts_in(text):
        sentence = sentence_at(text, match.start())
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
        verb = _VERB.match(after)
        if verb is not None:
            after = after[verb.end() :]
        double = len(denials) > 1 and not re.search(
            r",|\b(?:and|or|nor)\b", before[denials[-2].end() : denials[-1].end()], re.I
        )
        rest = sentence.text[match.end() - sentence.start :]
        apart = _NEW_CLAUSE.search(after) and _OF_ITS_OWN.match(rest)
        partly = _LIKE_THIS.match(rest) or (
            verb and (_IN_PART.search(sentence.text) or _UNSURE.search(sentence.text))
        )
        turned = _TURNS_AWAY.search(after) or _OF_SOMETHING_ELSE.match(after)
        if not (turned or double or apart or partly):
            affirmed = False
            at = (sentence.start + denials[-1].start(), match.end())
    elif not _UNSURE.search(sentence.text) and not _DENIAL.search(sentence.text):
        affirmed = True
    return _Mention(name, match.start(), match.end(), affirmed, at)


def _mentions_in_dialogue(text: str) -> Iterator[_Mention]:
    """Concepts in the turns of a dialogue: stated, or asked about and answered with yes or no."""
    turns = list(TURN.finditer(text))
    for turn, following in zip(turns, [*turns[1:], None]):
        begin, end = turn.span("said")
        for name, match in concepts_in(text, begin, end):
            sentence = sentence_at(text, match.start(), begin)
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
    things = {other for other, _ in concepts_in(sentence.text)}
    alone = len(things) == 1 and not re.search(r"\b(?:or|and)\b|,", sentence.text)
    opening = re.split(r"(?<=[.!?])\s", reply)[0]
    rest = reply[len(opening) :]
    if _UNSURE.search(reply) or re.search(r"\bbut\b", reply, re.I) or _OTHERS.search(reply):
        return unsure
    where = (match.string.index(sentence.text.strip(), sentence.start), following.end("said"))
    if _YES.match(reply) and alone and not _DENIAL.search(reply):
        return unsure._replace(affirmed=True, at=where)
    if _NO.match(reply) and not any(n == name for n, _ in concepts_in(rest)):
        return unsure._replace(affirmed=False, at=where)
    return unsure
