"""What the grammar writes: the need, the name, the splits."""

from __future__ import annotations

import random
import re
from collections import Counter
from dataclasses import replace

import pytest

from atmoe.data import Example, paraphrase, two_needs, wordings
from atmoe.data import templates as wording
from atmoe.data.labels import task_of

NAME = "Quandary gloomiasis"
SPLITS = wording.SPLITS
CASES = [(kind, audience) for kind in wordings.kinds() for audience in wordings.AUDIENCES]
BE = ("has", "is", "was")
SLOTS = {"x", "it", "late", *wordings._I}

EXAMPLE = Example(
    id="1",
    prompt="What causes Quandary gloomiasis?",
    answer="Nobody knows that yet.",
    labels={"task": "causes", "audience": "patient"},
    disease="gloom",
    source="own",
    kind="causes",
    focus=NAME,
)
TREATMENT = replace(EXAMPLE, id="2", kind="treatment", answer="Rest.", labels={"task": "treatment"})


def asked(kind: str, audience: str, seed: int, split: str, two: bool = False) -> str:
    rng = random.Random(seed)
    second = rng.choice(wordings._other_kinds(kind)) if two else None
    return wordings.written(kind, audience, NAME, rng, split, second)


def rules(split: str) -> dict[str, list[str]]:
    return {symbol: list(rule) for symbol, rule in wordings.table()["rules"][split].items()}


def phrases(kind: str, split: str) -> list[str]:
    forms = wordings.table()["needs"][kind][split]
    return [phrase for form in forms.values() for phrase in form]


def slips(a: str, b: str) -> int:
    """Letters dropped, added, changed or exchanged with their neighbour, from a to b."""
    rows = [list(range(len(b) + 1))]
    for i, x in enumerate(a, 1):
        row = [i]
        for j, y in enumerate(b, 1):
            cost = min(rows[-1][j] + 1, row[-1] + 1, rows[-1][j - 1] + (x != y))
            if i > 1 and j > 1 and (x, a[i - 2]) == (b[j - 2], y):
                cost = min(cost, rows[-2][j - 2] + 1)
            row.append(cost)
        rows.append(row)
    return rows[-1][-1]


def nearest(name: str, text: str) -> int:
    """The fewest slips between a name and any stretch of as many words of a text."""
    words, count = text.lower().split(), len(name.split())
    stretches = (" ".join(words[at : at + count]) for at in range(len(words) - count + 1))
    return min(slips(name.lower(), stretch.strip("?.,:;()/-")) for stretch in stretches)


def with_name(phrase: str) -> list[str]:
    return [phrase.replace("{it}", word).casefold() for word in ("it", NAME)]


def says(text: str, kind: str, split: str) -> bool:
    """Whether a phrase of the kind stands in the text, whoever it is about."""
    for phrase in phrases(kind, split):
        for named in with_name(phrase):
            pattern = re.sub(r"\\\{\w+\\\}", r"\\w+", re.escape(named))
            if re.search(pattern.rstrip("?").rstrip("\\"), text.casefold()):
                return True
    return False


@pytest.fixture
def carefully(monkeypatch):
    """Everybody writes without a slip."""
    monkeypatch.setattr(wordings, "_STYLES", {split: {"plain": 1} for split in SPLITS})


# --- what is written


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("two", [False, True])
def test_it_names_the_disease_fills_every_slot_and_is_short(split, two):
    for kind, audience in CASES:
        for seed in range(60):
            text = asked(kind, audience, seed, split, two)
            assert nearest(NAME, text) <= 1, text
            assert not set("{}<>") & set(text.replace("->", "")), text
            assert text == text.strip() and "  " not in text, text
            assert len(text.split()) <= 120, text


@pytest.mark.parametrize("split", SPLITS)
def test_the_longest_possible_text_is_short(split):
    """By the grammar itself, not by draws: the most words that a symbol can grow into."""
    known = {**rules("both"), **rules(split)}
    for kind in wordings.kinds():
        for form, texts in wordings.table()["needs"][kind][split].items():
            known[form] = known.get(form, []) + texts

    def longest(symbol: str) -> int:
        return max(
            len(wordings._SYMBOL.sub(" ", text).split())
            + sum(longest(match["symbol"]) for match in wordings._SYMBOL.finditer(text))
            for text in known[symbol]
        )

    for audience in wordings.AUDIENCES:
        assert longest(audience) <= 110 and longest(f"{audience}, two needs") <= 110


@pytest.mark.parametrize("split", SPLITS)
def test_the_need_is_said(carefully, split):
    for kind, audience in CASES:
        for seed in range(30):
            text = asked(kind, audience, seed, split)
            assert says(text, kind, split), (kind, text)


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("audience", wordings.AUDIENCES)
def test_both_of_two_needs_are_said(carefully, split, audience):
    for kind in wordings.kinds():
        for other in wordings._other_kinds(kind):
            text = wordings.written(kind, audience, NAME, random.Random(kind), split, other)
            assert says(text, kind, split) and says(text, other, split), (kind, other, text)


def test_a_need_that_is_not_meant_is_called_so(carefully):
    """Where a phrase of another task occurs, the text says that it is not the question."""
    refusals = re.compile(
        r"already know|got .* already|don't tell me|keeps asking|never mind|booklet on", re.I
    )
    for split in SPLITS:
        others = 0
        for kind, audience in CASES:
            for seed in range(30):
                rng = random.Random(seed)
                other = rng.choice(wordings._other_kinds(kind))
                text = wordings.written(kind, audience, NAME, random.Random(seed), split)
                # Long phrases alone: a short tag ("Rx") may stand in a word of anything.
                long = [p for p in phrases(other, split) if len(p) > 25]
                if any(word in text.casefold() for p in long for word in with_name(p)):
                    others += 1
                    assert refusals.search(text), (kind, other, text)
        assert others >= 5


def test_the_same_seed_writes_the_same_and_others_something_else():
    for kind, audience in CASES:
        for split in SPLITS:
            texts = [asked(kind, audience, seed, split) for seed in range(40)]
            assert texts == [asked(kind, audience, seed, split) for seed in range(40)]
            few = audience == "reference"
            assert len(set(texts)) >= (7 if few else 32), (kind, audience, split)


def test_worries_and_stories_go_with_every_need_alike(carefully):
    worries, stories = rules("train")["worry"], rules("train")["untold"]
    hospital = re.compile("|".join(re.escape(text.split("}")[-1]) for text in stories))
    worried, told = Counter(), Counter()
    for kind in wordings.kinds():
        for seed in range(300):
            text = asked(kind, "patient", seed, "train")
            worried[kind] += any(worry in text for worry in worries)
            told[kind] += bool(hospital.search(text))
    for counted in (worried, told):
        assert set(counted) == set(wordings.kinds())
        assert min(counted.values()) > 30 and max(counted.values()) < 2 * min(counted.values())


def test_the_disease_may_come_last_and_is_then_not_named_before(carefully):
    last = 0
    for seed in range(600):
        text = asked("treatment", "patient", seed, "train")
        if text.casefold().rstrip(".)").endswith(NAME.casefold()) and text.count(". ") > 1:
            last += text.count(NAME) == 1
    assert last > 10


def test_one_person_a_text(carefully):
    """Whoever is "my dad" is never "she"."""
    for split in SPLITS:
        people = wordings.table()["persons"][split]
        for kind, seed in (
            (kind, seed) for kind in ("outlook", "treatment") for seed in range(300)
        ):
            text = asked(kind, "patient", seed, split).lower()
            # Others come up beside the person: a sister who asks, a cousin who knows better.
            for pronoun, wrong in (("she", r"\b(he|him|his)\b"), ("he", r"\b(she|her)\b")):
                about = any(
                    f"{who.lower()} {verb} " in text for who in people[pronoun] for verb in BE
                )
                assert not (about and re.search(wrong, text)), text
            assert not re.search(r"\b(for|about|of|with|help|treat|prescribe) i\b", text), text
            assert not re.search(r"\bi (has|is|does)\b|\bme (was|am)\b", text), text


def test_what_stands_around_a_need_asks_for_nothing():
    around = ("greeting", "thanks", "place", "situation", "untold", "late", "worry", "aside")
    for split in SPLITS:
        for text in (text for symbol in around for text in rules(split)[symbol]):
            no_need = "?" not in text or text == "Hello, can you please help me?"
            assert no_need and "{it}" not in text and "<" not in text, text


def test_misspelling_leaves_most_words(monkeypatch):
    monkeypatch.setattr(wordings, "_STYLES", {"train": {"misspelt": 1}, "evaluation": {"hasty": 1}})
    plain = "My grandmother wonders about several complicated examinations yesterday evening"
    for split in SPLITS:
        misspelt = 0
        for seed in range(200):
            text = wordings._misspelt(plain, random.Random(seed), split)
            words = list(zip(plain.split(), text.split()))
            wrong = [pair for pair in words if pair[0] != pair[1]]
            assert len(text.split()) == len(words) and all(slips(*pair) <= 1 for pair in wrong)
            misspelt += len(wrong)
        assert 20 < misspelt < 400
        changed = sum(
            nearest(NAME, asked("causes", "patient", seed, split)) == 1 for seed in range(200)
        )
        assert 10 < changed < 100


def test_abbreviations_stand_for_names_clinicians_use_more_than_patients():
    def written(audience: str, name: str) -> list[str]:
        return [
            wordings.written("treatment", audience, name, random.Random(seed))
            for seed in range(200)
        ]

    def short(texts: list[str], word: str) -> int:
        return sum(bool(re.search(rf"\b{word}\b", text)) for text in texts)

    assert short(written("professional", "pulmonary embolism"), "PE") > 100
    assert short(written("patient", "pulmonary embolism"), "PE") == 0
    assert 5 < short(written("patient", "deep vein thrombosis"), "DVT") < 60
    assert short(written("reference", "deep vein thrombosis"), "DVT") == 0
    assert {"COPD", "AECOPD"} <= {
        word for text in written("professional", "copd") for word in re.findall(r"\w+", text)
    }
    table = wordings.table()
    every = {word for words in table["abbreviations"].values() for word in words}
    assert set(table["known_to_patients"]) <= every


# --- the table


def test_the_splits_share_nothing():
    train, evaluation = rules("train"), rules("evaluation")
    assert set(train) - {"reason"} == set(evaluation)
    both = {text for texts in train.values() for text in texts} & {
        text for texts in evaluation.values() for text in texts
    }
    assert not both
    for texts in rules("both").values():
        assert all(not wordings._SYMBOL.sub("", text).strip() for text in texts)
    table = wordings.table()
    for kind in wordings.kinds():
        assert not set(phrases(kind, "train")) & set(phrases(kind, "evaluation")), kind
    people = [
        {who for some in table["persons"][split].values() for who in some} for split in SPLITS
    ]
    assert not people[0] & people[1]
    wrong = [set(table["misspellings"][split].items()) for split in SPLITS]
    assert not wrong[0] & wrong[1]


def test_there_are_enough_wordings_of_every_need():
    lay = ("noun", "indirect", "question", "personal", "statement")
    for kind in wordings.kinds():
        for split, fewest, clinical in (("train", 20, 10), ("evaluation", 8, 5)):
            forms = wordings.table()["needs"][kind][split]
            assert set(forms) == {*lay, "tag", "ask"}
            assert sum(len(forms[form]) for form in lay) >= fewest, (kind, split)
            assert len(forms["tag"]) + len(forms["ask"]) >= clinical, (kind, split)
    assert len(rules("train")["patient"]) >= 20 and len(rules("evaluation")["patient"]) >= 8
    assert len(rules("train")["situation"]) >= 30


def test_a_phrase_belongs_to_one_need_and_has_its_form():
    owner: dict[str, str] = {}
    for kind in wordings.kinds():
        for split in SPLITS:
            for form, texts in wordings.table()["needs"][kind][split].items():
                for text in texts:
                    assert owner.setdefault(text, kind) == kind, text
                    names = text.count("{it}")
                    assert names == (form != "tag") or (form == "personal" and not names), text
                    end = {"question": "?", "statement": ".", "personal": "?"}.get(form)
                    assert end is None or text.endswith(end), text
                    assert form in ("statement", "ask", "tag") or not text.endswith("."), text
                    about = set(re.findall(r"\{(\w+)\}", text)) - {"it"}
                    assert form == "personal" or not about, text
    assert set(wordings.kinds()) == set(wording._table()["needs"])
    assert all(task_of(kind) for kind in wordings.kinds())


@pytest.mark.parametrize("split", SPLITS)
def test_every_symbol_has_a_rule_and_every_rule_is_used(split):
    known = {**rules("both"), **rules(split)}
    forms = set(wordings.table()["needs"]["causes"][split])
    used = set(wordings.AUDIENCES) | {f"{audience}, two needs" for audience in wordings.AUDIENCES}
    for texts in known.values():
        for text in texts:
            symbols = {match["symbol"] for match in wordings._SYMBOL.finditer(text)}
            assert symbols <= known.keys() | forms, text
            assert set(re.findall(r"\{(\w+)\}", text)) <= SLOTS, text
            used |= symbols
    assert used == known.keys() | forms


def test_every_shape_about_a_person_names_the_disease_itself():
    """A question about a person may leave the disease out, so its shape must not."""
    naming = {"situation", "late"}
    for split in SPLITS:
        for start in ("patient", "patient, two needs"):
            for text in rules(split)[start]:
                symbols = {match["symbol"] for match in wordings._SYMBOL.finditer(text)}
                if "own need" in symbols:
                    assert "{x}" in text or symbols & naming, text


# --- in place of templates


def test_a_clinicians_question_of_any_kind_is_written():
    for kind in wordings.kinds():
        example = replace(
            EXAMPLE, kind=kind, labels={"task": task_of(kind), "audience": "professional"}
        )
        for split in SPLITS:
            prompts = {paraphrase(example, random.Random(n), split).prompt for n in range(30)}
            assert example.prompt not in prompts and len(prompts) > 20


def test_the_grammar_writes_more_than_half_for_patients_and_little_for_reference():
    shares = {}
    for audience in ("patient", "reference"):
        example = replace(EXAMPLE, labels={"task": "causes", "audience": audience})
        names = (NAME, NAME.lower())
        fixed = {t.text.replace("{x}", name) for t in wording.single_templates() for name in names}
        prompts = [paraphrase(example, random.Random(n)).prompt for n in range(400)]
        shares[audience] = sum(prompt not in fixed for prompt in prompts) / len(prompts)
    assert 0.5 < shares["patient"] < 0.7 and 0.05 < shares["reference"] < 0.25


def test_what_the_grammar_does_not_know_is_left_alone():
    own = replace(EXAMPLE, kind="own", labels={"audience": "professional"})
    assert paraphrase(own, random.Random(0)) is own
    nobody = replace(EXAMPLE, labels={"task": "causes"})
    assert paraphrase(nobody, random.Random(0)) is nobody
    leaflet = replace(EXAMPLE, focus="Keep your kidneys healthy")
    assert paraphrase(leaflet, random.Random(0)) is leaflet


@pytest.mark.parametrize("audience", wordings.AUDIENCES)
def test_two_needs_of_every_audience(audience):
    a = replace(EXAMPLE, labels={"task": "causes", "audience": audience})
    b = replace(TREATMENT, labels={"task": "treatment", "audience": audience})
    train, evaluation = (
        {two_needs(a, b, random.Random(n), split).prompt for n in range(60)} for split in SPLITS
    )
    assert len(train) > 40 and len(evaluation) > 25 and not train & evaluation
    own = replace(b, kind="own")
    assert two_needs(a, own, random.Random(0)) is None


def test_titles_lose_their_capitals_for_people_alone():
    for audience, name in (
        ("patient", "kidney failure"),
        ("professional", "kidney failure"),
        ("reference", "Kidney Failure"),
    ):
        example = replace(
            EXAMPLE, focus="Kidney Failure", labels={"task": "causes", "audience": audience}
        )
        prompts = [paraphrase(example, random.Random(n)).prompt for n in range(60)]
        assert sum(name in prompt for prompt in prompts) > (10 if audience != "reference" else 59)


def test_the_digest_covers_the_grammar(monkeypatch):
    wording.wordings_digest.cache_clear()
    before = wording.wordings_digest()
    changed = {**wordings.table(), "known_to_patients": []}
    monkeypatch.setattr(wordings, "table", lambda: changed)
    wording.wordings_digest.cache_clear()
    assert wording.wordings_digest() != before
    wording.wordings_digest.cache_clear()
