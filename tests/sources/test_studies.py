"""The studies of sources and familiarity: their rates, their order, and the commands."""

import json
import random
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from commands import refused, run
from conftest import LAYOUT
from sources_examples import EXAMPLES, LINES, TRAINING, lines_of, saved_with_index

from atmoe import AtMoe
from atmoe.cli.sources import _familiarity as table_of
from atmoe.data import split, templates
from atmoe.errors import AssetError, DataError
from atmoe.sources import fitting
from atmoe.sources.outside import BESIDE, SPLITS, lines
from atmoe.study import familiarity, sources
from atmoe.study.bootstrap import rate
from atmoe.study.gradients import SIZE, _loss, gradients


@pytest.fixture(scope="module")
def saved(worlds, tmp_path_factory):
    return saved_with_index(worlds, tmp_path_factory.mktemp("studied"))


@pytest.fixture(scope="module")
def model(saved, worlds) -> AtMoe:
    return AtMoe.from_pretrained(saved[0], base=worlds("llama").directory)


def test_auroc_is_the_share_of_pairs_in_order():
    generator = torch.Generator().manual_seed(1)
    inner = torch.randint(6, (23,), generator=generator).float()
    apart = torch.randint(5, (17,), generator=generator).float()
    pairs = [float(a > b) + 0.5 * float(a == b) for a in inner for b in apart]
    assert familiarity.auroc(inner, apart) == pytest.approx(sum(pairs) / len(pairs))
    whole = familiarity.auroc_interval(inner, [str(i) for i in range(23)], apart)
    assert whole["interval"][0] < whole["mean"] < whole["interval"][1]
    # one topic, or one line, of which every draw is the same
    of_one = familiarity.auroc_interval(inner, ["gout"] * 23, apart)
    assert of_one == {"mean": whole["mean"], "interval": None}
    names = [str(i) for i in range(23)]
    assert familiarity.auroc_interval(inner, names, apart[:1])["interval"] is None
    told = {"flagged": {}, "auroc": of_one, "threshold": 1, "calibration": 50, "seconds": 1}
    assert f"AUROC {whole['mean']:.4f} (–); 1 s" in "\n".join(table_of(told))


def test_a_rate_is_a_mean_over_questions_and_draws_whole_diseases():
    values = [1.0, 1.0, 1.0, 0.0, 0.0, 1.0]
    one = rate(values, list("aaabbc"))
    assert one["mean"] == pytest.approx(4 / 6) and one["questions"] == 6
    low, high = one["interval"]
    assert low == 0.0 and high == 1.0  # all draws of b alone, and of a and c alone, are among them
    assert rate([1.0] * 5, list("abcde"))["interval"] == [1.0, 1.0]
    assert rate([], [])["questions"] == 0


def test_gradients_are_those_of_the_loss(model):
    chosen = [TRAINING[0], TRAINING[1], TRAINING[0]]
    vectors = gradients(model, chosen)
    assert vectors.shape == (3, SIZE)
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(3))
    assert float(vectors[0] @ vectors[2]) == pytest.approx(1) and vectors[0] @ vectors[1] < 0.999
    assert not any(linear.B.requires_grad for linear in model.bank.linears.values())
    logp = model.score_rows([chosen[0].prompt], [chosen[0].answer])[0][0]
    with torch.no_grad():
        assert float(_loss(model, chosen[0])) == pytest.approx(-float(logp.mean()), abs=1e-5)


def reworded(example, rng, split):
    return replace(example, prompt=f"In other words, {example.focus}?")


def ask_by(monkeypatch, reword):
    """Have the studies ask in words of ours, by whichever way they come to them."""
    for module in (sources, templates):
        monkeypatch.setattr(module, "paraphrase", reword)


def test_reach_counts_the_disease_among_the_five(model, monkeypatch):
    ask_by(monkeypatch, reworded)
    report = sources.study(model, EXAMPLES, count=30, subset=12)
    assert report["examples"] == len(TRAINING)
    assert list(report["ways"]) == list(sources.WAYS) and "together" in report["ways"]
    # Names are said in the questions, and nothing else tells these diseases apart.
    assert report["ways"]["words"]["reach"]["mean"] > 0.9
    for way in report["ways"].values():
        for part in way.values():
            low, high = part["interval"]
            assert 0 <= low <= part["mean"] <= high <= 1 and part["questions"]
    few = report["gradients"]
    assert few["examples"] == 12 and "gradients" in few["ways"]
    assert report["milliseconds"]["median"] <= report["milliseconds"]["most"]


@pytest.mark.parametrize("few", [1, 5, 10])
def test_gradients_are_not_compared_where_the_five_nearest_must_be_right(model, monkeypatch, few):
    ask_by(monkeypatch, reworded)
    with pytest.raises(DataError, match="compare 11 or more"):
        sources.study(model, EXAMPLES, count=2, subset=few)


def test_what_no_wording_fits_is_not_called_rephrased(model, monkeypatch):
    for reword, expected in ((None, False), (reworded, True)):
        if reword:
            ask_by(monkeypatch, reword)
        [columns] = {tuple(way) for way in sources.study(model, EXAMPLES, count=8)["ways"].values()}
        assert ("reach" in columns) == ("task, rephrased" in columns) == expected
        assert "task" in columns
        flagged = familiarity.study(model, EXAMPLES, LINES, count=8)["flagged"]
        assert ("unseen diseases, rephrased" in flagged) == expected


def partly_reworded(example, rng, split):
    return reworded(example, rng, split) if example.labels["task"] == "treat" else example


class WithReaderFirst:
    """A model whose first group is another one."""

    def __init__(self, model):
        self.model, self.layout = model, SimpleNamespace(group_names=("reader", "task"))

    def __getattr__(self, name):
        return getattr(self.model, name)


def test_the_comparison_with_gradients_names_the_first_group_and_is_drawn_by_the_seed(
    model, monkeypatch
):
    ask_by(monkeypatch, reworded)
    seeds = set()

    def counted(values, diseases, seed=0):
        seeds.add(seed)
        return rate(values, diseases, seed)

    def drawn(_, examples, seed=0):
        seeds.add(seed)
        return torch.rand(len(examples), SIZE)

    monkeypatch.setattr(sources, "rate", counted)
    monkeypatch.setattr(sources, "gradients", drawn)
    several = sources._several(TRAINING, 12)
    few = sources._with_gradients(
        WithReaderFirst(model), model.index, TRAINING, several, 12, random.Random(7), 7
    )
    assert seeds == {7} and {tuple(way) for way in few["ways"].values()} == {("reach", "reader")}
    seeds.clear()
    sources.study(model, EXAMPLES, count=4, subset=12, seed=8)
    assert seeds == {8}


def test_a_question_that_the_model_does_not_read_is_no_question_of_the_comparison(
    model, monkeypatch
):
    """Else those after it would be held against the disease of another."""

    def unread(example, rng, split):
        own = reworded(example, rng, split)
        return replace(own, prompt="") if example is first else own

    first = TRAINING[sources._several(TRAINING, 15)[0][0]]
    ask_by(monkeypatch, unread)
    monkeypatch.setattr(sources, "gradients", lambda m, e, seed: torch.ones(len(e), SIZE))
    same = SimpleNamespace(shuffle=lambda several: None)
    several = sources._several(TRAINING, 15)
    few = sources._with_gradients(model, model.index, TRAINING, several, 15, same, 0)
    assert few["questions"] == 2 == few["ways"]["words"]["reach"]["questions"]
    assert few["ways"]["words"]["reach"]["mean"] == 1  # their names are said


def test_only_what_has_other_words_is_called_rephrased(model, monkeypatch):
    ask_by(monkeypatch, partly_reworded)
    unseen = fitting.tested(EXAMPLES)
    fits = sum(e.labels["task"] == "treat" for e in unseen)
    assert 0 < fits < len(unseen)
    way = sources.study(model, EXAMPLES)["ways"]["together"]
    assert way["task"]["questions"] == len(unseen)
    assert way["task, rephrased"]["questions"] == fits
    flagged = familiarity.study(model, EXAMPLES, LINES)["flagged"]
    assert flagged["unseen diseases"]["questions"] == len(unseen)
    assert flagged["unseen diseases, rephrased"]["questions"] == fits


def test_questions_are_held_against_questions_without_a_text_on_both_sides(model):
    with_text = [replace(e, material="A text.") for e in EXAMPLES[::5]]
    asked = familiarity.study(model, [*EXAMPLES, *with_text], LINES, count=10**4)["flagged"]
    for kind, of in (
        ("diseases of training", TRAINING),
        ("unseen diseases", fitting.tested(EXAMPLES)),
    ):
        assert asked[kind]["questions"] + asked[kind]["refused"] == len(of)


def test_an_index_of_other_examples_is_noticed(model):
    with pytest.raises(DataError, match="made of other examples"):
        sources.study(model, EXAMPLES[:100], count=5)


def test_familiarity_is_counted_below_the_threshold_where_nothing_is_very_near(model, monkeypatch):
    ask_by(monkeypatch, reworded)
    report = familiarity.study(model, EXAMPLES, LINES, count=10)
    kinds = {*LINES.outside, *LINES.inside}
    added = {"outside, all", "unseen diseases", "unseen diseases, rephrased"}
    added |= {"diseases of training"}
    assert report["flagged"].keys() == kinds | added
    together = report["flagged"]["outside, all"]
    measured = LINES.outside.keys() - {BESIDE}
    parts = [report["flagged"][kind] for kind in measured]
    assert together["questions"] == sum(part["questions"] for part in parts)
    flagged = sum(part["mean"] * part["questions"] for part in parts)
    assert together["mean"] == pytest.approx(flagged / together["questions"])
    assert together["refused"] >= 1  # digits alone hold no word
    # All below but what is very near; and none.
    for shift, share in ((-1e6, 1.0), (1e6, 0.0)):
        familiar = model.index.tensors.familiar.clone()
        familiar[-1] += shift
        tensors = replace(model.index.tensors, familiar=familiar)
        shifted = AtMoe.__new__(AtMoe)
        shifted.__dict__ |= model.__dict__ | {"index": replace(model.index, tensors=tensors)}
        again = familiarity.study(shifted, EXAMPLES, LINES, count=10)["flagged"]
        assert again["diseases of training"]["mean"] == 0
        assert {again[kind]["mean"] for kind in measured} == {share}


def test_without_an_index_a_study_says_how_to_make_one(worlds):
    with pytest.raises(AssetError, match="atmoe index"):
        sources.study(worlds("llama").model, EXAMPLES)
    with pytest.raises(AssetError, match="atmoe index"):
        familiarity.study(worlds("llama").model, EXAMPLES, LINES)


def test_lines_are_many_ours_and_on_one_side():
    for side in (LINES.outside, LINES.inside):
        for splits in side.values():
            assert set(splits) == set(SPLITS)
    both = [[line for _, line in lines(LINES.outside, s)] for s in SPLITS]
    assert sum(map(len, both)) >= 150 and not set(both[0]) & set(both[1])
    assert all(len(own) == len(set(own)) for own in both)


def test_a_kind_of_lines_that_is_not_read_has_a_dash(model):
    unread = {**LINES.outside, "digits": {"choose": ("1",), "kept": ("1 2 3", "45")}}
    report = familiarity.study(model, EXAMPLES, replace(LINES, outside=unread), count=5)
    table = list(table_of(report))
    assert "| digits | – | – | 0 | 2 |" in table and not any("nan" in line for line in table)


def test_commands(capsys, saved, tmp_path):
    own = tmp_path / "own.yaml"
    (tmp_path / "own.jsonl").write_text("\n".join(map(json.dumps, lines_of(EXAMPLES))))
    groups = {name: list(experts) for name, experts in LAYOUT.groups}
    source = {"reader": "jsonl", "path": "own.jsonl"}
    own = tmp_path / "own.json"
    described = {"groups": groups, "sources": [source]}
    own.write_text(json.dumps(described))
    made = run(capsys, "index", str(own), *saved[1], "--out", str(tmp_path / "index"))
    # A row's topic goes to one side of the split whatever its case.
    taught = [e for e in EXAMPLES if split(replace(e, disease=e.disease.casefold())) == "train"]
    assert made["examples"] == len(taught) and made["bytes"] < 6 * 2**20
    assert made["addresses"] == len({e.address for e in taught} - {""})
    # The index beside the model is of the same examples, with other names of their source.
    assert "other examples" in refused(capsys, "evaluate-sources", str(own), *saved[1])
    # Whose lines these are is said by the description, and by nothing else.
    assert made["familiarity"] is None
    command = ("evaluate-familiarity", str(own), *saved[1], "--questions", "5")
    assert "names no lines" in refused(capsys, *command)
    own.write_text(json.dumps(described | {"familiarity": "medical"}))
    report = run(capsys, *command)
    assert report["flagged"]["outside, all"]["questions"] > 100
