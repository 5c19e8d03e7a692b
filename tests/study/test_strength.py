"""Strength and coherence: the measures are plain, and a warning needs a measurement behind it."""

import json
import re
from dataclasses import replace
from types import SimpleNamespace

import pytest
from conftest import PROMPTS

from app.ask.words import warning
from app.session import Progress
from app.steer.words import strength_note
from atmoe import AtMoeError, Sampling, Steering
from atmoe.answer.pieces import whole
from atmoe.explanation.coherence import Coherence, Cohort, coherence, repeated_trigrams
from atmoe.explanation.sweep import sweep
from atmoe.study.strength import STRENGTHS, study, summary

SAMPLING = Sampling(12, repetition_penalty=1.1)


def test_repeated_trigrams():
    assert repeated_trigrams("a b c d") == repeated_trigrams("a b") == repeated_trigrams("") == 0
    assert repeated_trigrams("a b c a b c") == pytest.approx(1 / 4)  # abc bca cab abc
    assert (
        repeated_trigrams("Rest now. " * 50) == pytest.approx(96 / 98)
        and repeated_trigrams("No NO no no") == 0.5
    )


def test_coherence_is_that_of_the_first_tokens_under_the_answers_own_plan(model):
    record = model.answer(PROMPTS[0], Steering(strength=1.5), SAMPLING)
    found = coherence(model, record)
    read = whole(sweep(model, model.encode(PROMPTS[0]), record.answer_tokens, [record.plan]))
    assert found.logp == pytest.approx(float(read.logp.mean()), abs=1e-4)
    assert found.tokens == len(record.answer_tokens) > 5 and found.repeated == repeated_trigrams(
        record.answer
    )
    opening = (
        model.tokenizer.decode(record.answer_tokens[:5], skip_special_tokens=True)
        .rstrip("�")
        .lstrip()
    )
    assert coherence(model, record, 5).tokens == 5 and coherence(
        model, record, 5
    ).repeated == repeated_trigrams(opening)
    assert coherence(model, replace(record, answer="", answer_tokens=())) is None


def test_the_study_measures_each_strength_alone(model, tmp_path):
    report = json.loads(json.dumps(study(model, PROMPTS[:3], sampling=SAMPLING)))
    assert (
        report["strengths"] == list(STRENGTHS)
        and report["prompts"] == 3
        and report["model"]["sha256"] == model.info.sha256
    )
    for prompt, repeated, logp in zip(
        PROMPTS, report["answers"]["repeated"], report["answers"]["logp"]
    ):
        for strength, one, other in zip(STRENGTHS, repeated, logp):
            record = model.answer(prompt, Steering(strength=strength), SAMPLING)
            found = coherence(model, record)
            if found is None:
                assert one is other is None
                continue
            assert one == pytest.approx(found.repeated, abs=1e-4)
            assert other == pytest.approx(found.logp, abs=2e-4)
    assert Cohort.of(report, model).prompts == 3
    assert Cohort.of(report | {"model": {"name": "another", "sha256": "0"}}, model) is None
    with pytest.raises(AtMoeError, match="evaluate-strength"):
        Cohort.of({"model": report["model"]}, model)
    file = tmp_path / "strength.json"
    assert Cohort.read(file, model) is None
    file.write_text(json.dumps(report))
    assert Cohort.read(file, model) == Cohort.of(report, model)
    file.write_text("{")
    with pytest.raises(AtMoeError, match="is not JSON"):
        Cohort.read(file, model)


def test_an_answer_without_words_repeats_nothing_that_could_be_counted(model, monkeypatch):
    loops = "Rest now. " * 9
    texts, tokens = ("", *[loops] * 8), ((), *[model.encode_answer(loops)] * 8)
    ended = SimpleNamespace(texts=texts, tokens=tokens)
    monkeypatch.setattr(type(model), "generate", lambda *_: SimpleNamespace(run=lambda: ended))
    report = study(model, PROMPTS[:1])
    for measure in ("repeated", "logp"):
        first, *others = report["answers"][measure][0]
        assert first is None and None not in others
    assert report["by_strength"][0]["repeated"]["median"] != 0


def found(over: dict[float, float], logp: float = -1.0) -> dict:
    """20 prompts; at strength 1 their repetitions go from 0 to 19%, elsewhere all are as given."""
    rows = [[over.get(s, i / 100 if s == 1 else 0.05) for s in STRENGTHS] for i in range(20)]
    return {
        "repeated": rows,
        "logp": [[logp if s != 1 else -1 - i / 100 for s in STRENGTHS] for i in range(20)],
    }


@pytest.mark.parametrize(
    ("over", "leaves"),
    [
        ({1.5: 0.3, 1.75: 0.4, 2.0: 0.5}, 1.5),
        ({1.25: 0.3, 1.75: 0.4, 2.0: 0.5}, 1.75),
        ({1.5: 0.3}, None),
        ({}, None),
        ({0.0: 0.9, 0.5: 0.9}, None),
        ({2.0: 0.1806}, 2.0),
        ({2.0: 0.1804}, None),
    ],
)
def test_leaving_is_for_good(over, leaves):
    """The range ends at 18.05%, the 95% quantile."""
    report = summary(found(over))
    assert report["leaves"] == leaves and report["range"]["repeated"] == pytest.approx(
        [0.0095, 0.1805]
    )
    assert report["by_strength"][STRENGTHS.index(1.0)]["repeated"]["outside"] == 1 / 20


def test_an_answer_at_the_end_of_the_range_itself_is_not_outside():
    """Whatever its digits: the study counted it as within."""
    same = {
        "repeated": [[1 / 12] * len(STRENGTHS)] * 21,
        "logp": [[-0.98764] * len(STRENGTHS)] * 21,
    }
    report = summary(same)
    assert report["by_strength"][STRENGTHS.index(1.0)]["repeated"]["outside"] == 0
    measured = replace(cohort({}), range={m: tuple(ends) for m, ends in report["range"].items()})
    assert measured.outside(Coherence(1 / 12, -0.98764, None)) == ()


def test_an_answer_without_words_is_left_out():
    some = found({})
    some["logp"] = [[None if i == 0 else x for x in row] for i, row in enumerate(some["logp"])]
    assert (
        summary(some)["range"]["logp"][0] == pytest.approx(-1.181)
        and summary(some)["answers"]["logp"][0][0] is None
    )


def test_a_share_is_of_the_answers_that_were_measured():
    at = STRENGTHS.index(2.0)
    some = found({})
    for i, row in enumerate(some["logp"]):
        row[at] = -3.0 if i == 0 else None
    assert summary(some)["by_strength"][at]["logp"]["outside"] == 1


def cohort(over: dict[float, float]) -> Cohort:
    report = summary(found(over)) | {
        "prompts": 20,
        "sampling": {"max_new_tokens": 160, "repetition_penalty": 1.1},
        "model": {"sha256": "x"},
    }
    return Cohort.of(report, SimpleNamespace(info=SimpleNamespace(sha256="x")))


def progress(
    repeated: float, logp: float, tokens: int = 100, opening: int = 100, temperature: float = 0.0
) -> Progress:
    sampling = {
        "max_new_tokens": 160,
        "temperature": temperature,
        "top_p": 1.0,
        "repetition_penalty": 1.1,
    }
    return Progress(
        SimpleNamespace(answer_tokens=(1,) * tokens, sampling=sampling),
        True,
        None,
        Coherence(repeated, logp, opening),
    )


def test_a_warning_tells_numbers_apart_that_round_to_the_same():
    measured = cohort({})
    (_, most), (least, _) = measured.range["repeated"], measured.range["logp"]
    said = warning(progress(most + 0.0004, least - 0.0004), measured)
    given = re.findall(r"(−?[\d.]+)(?:%| per) .*?(?:most|least) (−?[\d.]+)%?\)", said)
    assert len(given) == 2
    for own, theirs in given:
        assert own != theirs
        difference = float(own.replace("−", "-")) - float(theirs.replace("−", "-"))
        assert (difference > 0) is ("−" not in own)


def test_a_warning_has_its_figures_and_needs_a_measurement():
    measured = cohort({})
    assert (
        warning(progress(0.18, -1.1), measured) == ""
        and warning(progress(0.0, -0.1), measured) == ""
    )
    assert warning(progress(0.31, -1.1), measured) == (
        "Unlike 95% of the 20 answers measured at strength 1: 31% of its trigrams (three words in "
        "a row) stood in it before (theirs: at most 18%)."
    )
    both = warning(progress(0.31, -2.5, 300, 160), measured)
    assert (
        "before in its first 160 tokens (theirs: " in both
        and "its words in its first 160 tokens are less likely, mean log-probability −2.50 per "
        "token (theirs: at least −1.18)."
        in both
    )
    assert (
        warning(progress(0.31, -2.5), None) == warning(progress(0.31, -2.5, 30, 30), measured) == ""
    )
    assert (
        warning(progress(0.31, -2.5, temperature=0.7), measured) == ""
    )  # the cohort's were greedy


def test_the_note_at_the_slider():
    assert strength_note(None) == ""
    assert strength_note(cohort({1.5: 0.3, 1.75: 0.4, 2.0: 0.5})) == (
        "Measured on 20 questions: at strength 1, nine in ten answers repeated 1% to 18% of their "
        "trigrams; from 1.5 on the median answer repeated more (30%, and 50% at 2)."
    )
    assert "; up to 2 the median answer stayed within that (5% at 2)." in strength_note(cohort({}))
