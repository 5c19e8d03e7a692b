"""How often is an answer flagged, and for what? Measured on answers to held-out prompts.

kept to      answers to dialogues and abstracts: the share with a finding, by kind
untaught     answers of all three: the share with a word that nobody taught, and which words; and of
             reference answers, which people wrote
filter       members that it misses, and made-up words that it lets pass
drafts       the self-agreement of answers to questions

Of an answer, all findings count together: shares of answers and of words have Wilson's interval
(1927), which holds where hits are rare; self-agreement has one over draws of answers (Efron 1979).
"""

from __future__ import annotations

import json
import math
import random
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from atmoe import files
from atmoe.answer.sampling import Sampling
from atmoe.data import Example, paraphrase
from atmoe.errors import DataError
from atmoe.explanation.drafts import COUNT, LIKE, Drafts, drafted
from atmoe.flags.kept_to import KINDS, findings, source_of
from atmoe.flags.untaught import Tokenizer, Words, keys_of_training, untaught
from atmoe.flags.words import words_of
from atmoe.model import AtMoe
from atmoe.study.answering import answered
from atmoe.study.bootstrap import rate

SAMPLING = Sampling(max_new_tokens=100, repetition_penalty=1.1)
ASKED = ("dialogue", "abstract", "question")
EXAMPLES = 10
"""Of words, so many are written down."""
MADE_UP = 100_000
Z = 1.959964
"""The normal distribution's 97.5% quantile."""


@dataclass(frozen=True)
class Asked:
    """A held-out prompt, what a person wrote to it, and what the model did.

    Attributes:
        kind: one of ASKED.
        id: of the example.
        finish: how the answer ended, as of a record.
        drafts: its texts sampled again, where that was asked for.
    """

    kind: str
    id: str
    prompt: str
    reference: str
    answer: str
    finish: str
    drafts: tuple[str, ...] = ()


def drawn(examples: Sequence[Example], counts: Mapping[str, int], seed: int) -> list[Asked]:
    """Prompts to be answered; plain questions in wordings that no training saw, where one fits.

    Args:
        examples: held out.
        counts: how many of each of ASKED, at most.
        seed: of the draw.

    Raises:
        DataError: there is none.
    """
    rng = random.Random(seed)
    asked = []
    for kind in ASKED:
        own = [example for example in examples if _kind(example) == kind]
        for example in rng.sample(own, min(counts.get(kind, 0), len(own))):
            prompt = example.prompt
            if kind == "question":
                prompt = paraphrase(example, rng, "evaluation").prompt
            asked.append(Asked(kind, example.id, prompt, example.answer, "", ""))
    if not asked:
        raise DataError("No example is a dialogue, an abstract or a question; name other data.")
    return asked


def _kind(example: Example) -> str:
    if not example.material:
        return "question"
    return "abstract" if example.labels.get("task") == "evidence" else "dialogue"


def answer_all(
    model: AtMoe, asked: Sequence[Asked], drafts: int, seed: int, batch: int = 20
) -> list[Asked]:
    """Answer prompts greedily; and the first questions several times more.

    Args:
        model: what answers.
        asked: prompts without answers.
        drafts: how many of the questions are sampled again, `COUNT` times each.
        seed: of the answers; their drafts have those after it.
        batch: rows at once.
    """
    sampling = replace(SAMPLING, seed=seed)
    records = answered(model, [one.prompt for one in asked], sampling, batch)
    questions = [n for n, one in enumerate(asked) if one.kind == "question"][:drafts]
    texts: dict[int, tuple[str, ...]] = {}
    at_once = max(batch // COUNT, 1)
    for start in range(0, len(questions), at_once):
        rows = questions[start : start + at_once]
        for n, made in zip(rows, drafted(model, [records[row] for row in rows])):
            texts[n] = made.texts
    return [
        replace(one, answer=r.answer, finish=r.finish, drafts=texts.get(n, ()))
        for n, (one, r) in enumerate(zip(asked, records))
    ]


def kept(file: Path, asked: Sequence[Asked], made_by: Mapping[str, Any]) -> list[Asked]:
    """Answers that `keep` wrote.

    Args:
        file: what it wrote.
        asked: the prompts that are to be answered.
        made_by: what `keep` is given with such answers.

    Raises:
        DataError: it is no such file, or of other prompts or made by something else.
    """
    try:
        data = json.loads(file.read_text("utf-8"))
        rows = [Asked(**{**row, "drafts": tuple(row["drafts"])}) for row in data["answers"]]
        differ = [name for name, value in made_by.items() if data["made_by"][name] != value]
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(f"{file} holds no answers to flag ({error}); name another.") from error
    if [replace(row, answer="", finish="", drafts=()) for row in rows] != list(asked):
        differ.append("prompts")
    if differ:
        raise DataError(
            f"The answers in {file} are those of another run (other {', '.join(differ)}); ask for "
            f"the same, or name another file."
        )
    return rows


def keep(file: Path, asked: Sequence[Asked], made_by: Mapping[str, Any]) -> None:
    """Write answers down; they quote the corpora, so the file is for this machine alone.

    Args:
        file: where.
        asked: answered.
        made_by: what else than the prompts the answers depend on.
    """
    data = {"made_by": made_by, "answers": [asdict(one) for one in asked]}
    files.replace(file, json.dumps(data).encode())


def study(
    asked: Sequence[Asked],
    words: Words,
    training: Sequence[Example],
    tokenizer: Tokenizer,
    seed: int = 0,
) -> dict[str, Any]:
    """Flag answers, and count.

    Args:
        asked: answered.
        words: of the model that answered.
        training: what the experts were trained on, to tell what the filter must hold.
        tokenizer: the base's.
        seed: of what is drawn.

    Returns:
        "kept_to": {"answers", "by_source": {kind: {"answers", "share", "interval"}}, "by_kind":
        {kind: {"findings", "share", "interval"}}, "milliseconds": median an answer}.
        "untaught": {"answers", "words", "flagged", "share", "interval", "examples"} of answers,
        "references": the same.  "filter": as `filter_errors`.  "drafts": as `agreement`, or None.
    """
    sourced = [one for one in asked if source_of(one.prompt)]
    answers = [(one.prompt, one.answer, one.finish == "length") for one in asked]
    references = [(one.prompt, one.reference, False) for one in asked]
    return {
        "kept_to": _kept_to(sourced) if sourced else None,
        "untaught": {
            **_untaught(answers, words, seed),
            "references": _untaught(references, words, seed),
        },
        "filter": filter_errors(words, training, tokenizer, seed),
        "drafts": agreement([one for one in asked if one.drafts], seed),
        "seed": seed,
    }


def _kept_to(asked: Sequence[Asked]) -> dict[str, Any]:
    found, seconds = [], []
    for one in asked:
        began = time.perf_counter()
        found.append(findings(one.prompt, one.answer))
        seconds.append(time.perf_counter() - began)
    by_source = {}
    for source in sorted({one.kind for one in asked}):
        own = [bool(f) for one, f in zip(asked, found) if one.kind == source]
        by_source[source] = {"answers": len(own), **share(own)}
    by_kind = {}
    for kind in KINDS:
        own = [any(f.kind == kind for f in each) for each in found]
        count = sum(f.kind == kind for each in found for f in each)
        by_kind[kind] = {"findings": count, **share(own)}
    return {
        "answers": len(asked),
        "findings": sum(map(len, found)),
        "by_source": by_source,
        "by_kind": by_kind,
        "milliseconds": round(1000 * statistics.median(seconds), 2),
    }


def _untaught(texts: Sequence[tuple[str, str, bool]], words: Words, seed: int) -> dict[str, Any]:
    """How many texts hold an untaught word, and some of these words.

    Args:
        texts: the prompt of each, the text, and whether it is cut off.
        words: that were taught.
        seed: of what is drawn.
    """
    flagged = [untaught(words, prompt, text, cut_off) for prompt, text, cut_off in texts]
    count = sum(1 for _, text, _ in texts for _ in words_of(text))
    distinct = sorted({word.text for each in flagged for word in each})
    chosen = random.Random(seed).sample(distinct, min(EXAMPLES, len(distinct)))
    total = sum(map(len, flagged))
    return {
        "answers": len(texts),
        **share([bool(each) for each in flagged]),
        "words": {"all": count, "flagged": total, "interval": wilson(total, count)},
        "examples": sorted(chosen),
    }


def filter_errors(
    words: Words, training: Sequence[Example], tokenizer: Tokenizer, seed: int
) -> dict[str, Any]:
    """What the filter misses of its members, and what it lets pass of made-up words.

    A made-up word is the first half of one member and the second of another, where that is none.
    """
    members = keys_of_training(training, tokenizer)
    rng = random.Random(seed)
    ordered = sorted(members)
    halves = [one for one in ordered if len(one) > 3]
    strange: set[str] = set()
    for _ in range(MADE_UP if halves else 0):
        one, other = rng.choice(halves), rng.choice(halves)
        word = one[: len(one) // 2] + other[len(other) // 2 :]
        if word not in members:
            strange.add(word)
    passed = sum(words.holds(word) for word in strange)
    return {
        "bytes": len(words.bits),
        "members": len(members),
        "missed": sum(not words.holds(word) for word in ordered),
        "made_up": len(strange),  # few words make the same ones twice
        "passed": passed,
        "interval": wilson(passed, len(strange)),
    }


def agreement(asked: Sequence[Asked], seed: int) -> dict[str, Any] | None:
    """Self-agreement of answers with their drafts; None without any."""
    all_drafts = [Drafts(one.answer, one.drafts, (), {}, True) for one in asked]
    values = [made.agreement for made in all_drafts]
    measured = [value for value in values if value is not None]
    if not measured:
        return None
    statements = [statement.shared for made in all_drafts for statement in made.statements]
    each_drawn = rate(measured, [str(n) for n in range(len(measured))], seed)
    return {
        "questions": len(measured),
        "drafts": len(asked[0].drafts),
        "alike": LIKE,
        "agreement": {name: each_drawn[name] for name in ("mean", "interval")},
        "median": statistics.median(measured),
        "statements": len(statements),
        "shared_by_none": statistics.mean(value == 0 for value in statements),
        "shared_by_all": statistics.mean(value == 1 for value in statements),
    }


def share(hits: Sequence[bool]) -> dict[str, Any]:
    """The share of answers that are hits, and its interval."""
    return {"share": statistics.mean(hits), "interval": wilson(sum(hits), len(hits))}


def wilson(hits: int, of: int) -> list[float]:
    """The 95% score interval of a share (Wilson 1927), which holds where hits are rare or none."""
    if not of:
        return [0.0, 1.0]
    centre = (hits + Z * Z / 2) / (of + Z * Z)
    half = Z / (of + Z * Z) * math.sqrt(hits * (of - hits) / of + Z * Z / 4)
    return [max(centre - half, 0.0), min(centre + half, 1.0)]
