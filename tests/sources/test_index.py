"""The index: what it holds, what it finds, whose it is, and what it refuses."""

import gzip
import json
import random
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from commands import run
from conftest import DEPTH, HIDDEN, LAYOUT, PROMPTS
from safetensors.torch import load_file, save_file
from sources_examples import EXAMPLES, LINES, SETTINGS, TRAINING, saved_with_index

from atmoe import AtMoe, Record, RoutingPlan, Sampling, State, Steering
from atmoe.data import split
from atmoe.errors import AssetError, AtMoeError, DataError
from atmoe.flags.untaught import FILE as WORDS
from atmoe.flags.untaught import Words
from atmoe.flags.words import key
from atmoe.mixture import mixture as forwarding
from atmoe.sources import fitting
from atmoe.sources.facts import Facts
from atmoe.sources.fitting import FitSettings, calibrates, make_index
from atmoe.sources.index import ALIKE, COVER, FACTS, NEAREST, VECTORS, WEIGHTS, Index, Reading
from atmoe.sources.outside import Lines, lines
from atmoe.sources.reading import read
from atmoe.sources.value import EDGE, FAR, SENTENCES, VERY_NEAR, Found, Source, sentence_of
from atmoe.sources.words import Topics, pieces_of
from atmoe.steering.overrides import Override


@pytest.fixture(scope="module")
def saved(worlds, tmp_path_factory):
    """(directory, flags) of a tiny model with a planner, and its index beside it."""
    return saved_with_index(worlds, tmp_path_factory.mktemp("indexed"))


@pytest.fixture(scope="module")
def model(saved, worlds) -> AtMoe:
    return AtMoe.from_pretrained(saved[0], base=worlds("llama").directory)


def loaded(folder, model) -> Index:
    return Index.load(folder, model.info.sha256, DEPTH, HIDDEN, LAYOUT.groups)


def asked(model, prompt):
    """What an index is asked with: what the planner read, and what it asks for."""
    first = model.route(prompt).first
    return first, model.router.planner(first[None], [prompt])[0].detach()


def test_saved_and_loaded_it_is_the_same_to_the_bit(model, saved, tmp_path):
    model.index.save(tmp_path)
    again = loaded(tmp_path, model)
    assert again.facts == model.index.facts and again.model == model.info.sha256
    for field in fields(Reading):
        one, other = (getattr(i.tensors, field.name) for i in (again, model.index))
        assert one.dtype == other.dtype and torch.equal(one, other), field.name
    for name in (FACTS, VECTORS):
        assert (tmp_path / name).read_bytes() == (saved[0] / "index" / name).read_bytes()


def test_it_holds_the_training_side_alone(model):
    index = model.index
    assert len(index.facts) == len(TRAINING) < len(EXAMPLES)
    for row, e in enumerate(TRAINING):
        source = index.source(row, 0.5)
        assert source == Source(e.source, e.focus, e.labels["task"], e.address, 0.5)
    unseen = {e.focus for e in EXAMPLES} - {e.focus for e in TRAINING}
    assert unseen and unseen.isdisjoint(index.facts.topics)


def test_it_holds_no_sentence_of_the_corpus(saved):
    folder = saved[0] / "index"
    everything = gzip.decompress((folder / FACTS).read_bytes()) + (folder / VECTORS).read_bytes()
    for e in EXAMPLES:
        for sentence in (e.prompt, e.answer):
            assert sentence.encode() not in everything
            assert sentence[:20].encode() not in everything


@pytest.mark.parametrize("prompt", [*PROMPTS, "How is Glooma 3 helped?", "Hm"])
def test_the_nearest_are_those_of_a_plain_computation(model, prompt):
    index, tensors = model.index, model.index.tensors
    first, planned = asked(model, prompt)
    # 1. the parts, in numpy
    read_ = first[tensors.layers].numpy().ravel() - tensors.centre.numpy()
    small = read_ @ tensors.projection.numpy()
    narrow = small[: tensors.vectors.shape[1]]
    units = tensors.vectors.numpy().astype(np.float32) / 127
    alike = np.clip(units @ (narrow / np.linalg.norm(narrow)), 0, 1)
    cover = Topics([e.focus for e in TRAINING]).cover(prompt).numpy()
    logits = tensors.labels(prompt, torch.from_numpy(small)).numpy() + 0.3 * np.log(
        planned.numpy().clip(1e-5)
    )
    parts = {COVER: cover, ALIKE: alike}
    for place, group in enumerate(LAYOUT.group_names[:2]):
        if len(dict(LAYOUT.groups)[group]) == 1:  # it tells no question from another
            continue
        own = np.exp(logits[LAYOUT.members(group)] - logits[LAYOUT.members(group)].max())
        names = dict(LAYOUT.groups)[group]
        parts[str(place)] = np.array(
            [(own / own.sum())[names.index(e.labels[group])] for e in TRAINING]
        )
    attainable = sum(WEIGHTS[name] for name in parts)
    want = sum(WEIGHTS[name] * part for name, part in parts.items()) / attainable
    got = index.similarity(prompt, first, planned)
    # BM25 weighs words by how many topics have them, so cover is asked of the different topics.
    topics = Topics(index.facts.topics).cover(prompt).numpy()[list(index.facts.topic)]
    want += WEIGHTS[COVER] * (topics - cover) / attainable
    np.testing.assert_allclose(got.numpy(), want, atol=2e-5)
    # 2. the order, by a full sort
    order = np.argsort(-got.numpy(), kind="stable")
    pages, best = set(), []
    for row in order:
        page = (TRAINING[row].focus, TRAINING[row].labels["task"], TRAINING[row].source)
        if page not in pages:
            pages.add(page)
            best.append(index.source(int(row), float(got[row])))
    assert index.nearest(prompt, first, planned) == tuple(best[:NEAREST])
    assert len({(s.topic, s.task, s.source) for s in best[:NEAREST]}) == NEAREST


def test_the_name_of_a_topic_finds_it(model):
    for name in ("Glooma 3", "cystic fibrosis 2"):
        prompt = f"Could somebody explain {name}?"
        nearest = model.found(prompt, model.route(prompt)).nearest
        assert name.lower() in [s.topic.lower() for s in nearest]
        assert all(0 <= s.similarity <= 1 for s in nearest)
        assert [s.similarity for s in nearest] == sorted(s.similarity for s in nearest)[::-1]


def test_what_cannot_be_seen_changes_neither_the_plan_nor_what_is_found(model):
    plain, copied = "How is asthma treated?", "How\u00a0is\u200b asth\u00adma treated?\ufeff"
    one, two = model.routed(plain), model.routed(copied)
    assert one.plan.close_to(two.plan, atol=0) and one.to_dict() == two.to_dict()
    assert two.prompt == plain and model.found(copied, one.router_plan) == one.found
    phone = model.routed("How is my child’s asthma treated?")
    assert phone.to_dict() == model.routed("How is my child's asthma treated?").to_dict()
    expert = model.layout.expert_names[0]
    near = [model.nearest_for(expert, text, one.router_plan) for text in (plain, copied)]
    assert near[0] == near[1]
    answers = ["with rest", "\ufeffwith\u00a0re\u00adst"]
    scores = [model.scored(plain, answer).to_dict() for answer in answers]
    assert scores[0] == scores[1]


def test_an_abbreviation_stands_for_the_name():
    topics = Topics(["Atrial fibrillation", "Deep vein thrombosis", "Adult leukemia", "Gout"])
    for question, row in (("tx for afib", 0), ("DVT?", 1), ("dvt after surgery", 1)):
        cover = topics.cover(question)
        assert int(cover.argmax()) == row and float(cover[row]) == pytest.approx(1)
    assert not topics.cover("tell me all about it").any()


def test_a_name_in_other_letters_is_found_by_its_words_and_pieces():
    names = ["Бронхиальная астма", "Подагра", "Ødem", "Μηνιγγίτιδα"]
    topics = Topics(names)
    for row, name in enumerate(names):
        cover = topics.cover(f"{name}: ?")
        assert cover.tolist() == pytest.approx([float(i == row) for i in range(len(names))])
        assert pieces_of(name)
    assert not topics.cover("Ødegaard").any() and not topics.cover("dem").any()


def test_the_nearest_for_an_expert_are_labelled_with_it(model):
    plan = model.route(PROMPTS[0])
    for name in LAYOUT.expert_names:
        group, expert = name.split("/")
        nearest = model.nearest_for(name, PROMPTS[0], plan)
        labelled = {
            (e.source, e.focus, e.labels["task"]) for e in TRAINING if e.labels[group] == expert
        }
        assert nearest and {(s.source, s.topic, s.task) for s in nearest} <= labelled
    with pytest.raises(AssetError, match="no expert 'task/tusk'"):
        model.nearest_for("task/tusk", PROMPTS[0], plan)


def test_familiarity_is_a_rank(model):
    tensors = replace(model.index.tensors, unseen=torch.tensor([-2.0, -1.0, 1.0, 3.0]))
    index = replace(model.index, tensors=tensors)
    first, _ = asked(model, PROMPTS[0])
    own = float(tensors.score(first[None]))
    ranks = []
    for score in (-3.0, -2.0, -1.5, 0.0, 1.0, 2.0, 3.0, 9.0):
        familiar = tensors.familiar.clone()
        familiar[-1] += score - own
        shifted = replace(index, tensors=replace(tensors, familiar=familiar))
        # A hair above, since the score itself is a sum of many.
        shifted.tensors.familiar[-1] += 1e-4
        ranks.append(shifted.familiarity(first))
    assert ranks == [0.0, 0.25, 0.25, 0.5, 0.75, 0.75, 1.0, 1.0]


def test_no_question_about_an_unseen_topic_no_familiarity(model, tmp_path):
    tensors = replace(model.index.tensors, unseen=torch.zeros(0))
    replace(model.index, tensors=tensors).save(tmp_path)
    index = loaded(tmp_path, model)
    found = index.found(PROMPTS[0], *asked(model, PROMPTS[0]))
    assert found.familiarity is None and not found.far and len(found.nearest) == NEAREST
    assert "familiarity" not in found.to_dict() and "not measured" in found.sentence


def test_what_is_not_a_number_is_not_familiar(model):
    first, planned = asked(model, PROMPTS[0])
    broken = first.clone()
    broken[model.index.tensors.layers[0], 0] = torch.nan
    found = model.index.found(PROMPTS[0], broken, planned)
    assert found.familiarity is None and "not measured" in found.sentence


def test_it_is_calibrated_on_half_of_the_unseen_topics(model):
    half = [e for e in EXAMPLES if split(e) != "train" and calibrates(e)]
    # No wording fits these, so none of them has other words; some are asked twice.
    assert 0 < len(model.index.tensors.unseen) == len({e.prompt for e in half}) < len(half)
    assert any(not calibrates(e) for e in EXAMPLES if split(e) != "train")


def chosen(side) -> list[str]:
    return [line for _, line in lines(side, "choose")]


@pytest.mark.parametrize("given", [None, Lines(LINES.outside, LINES.inside), LINES])
def test_what_is_like_training_is_said_by_a_models_own_lines_alone(model, given):
    """Recipes are questions for a kitchen's model, and complaints are none; nobody guesses."""
    seen = set()

    def reader(mixture, prompts, label):
        seen.update(prompts)
        return read(mixture, prompts, label)

    index = make_index(model, EXAMPLES, SETTINGS, reader, given)
    first = model.route(LINES.inside["people"]["kept"][0]).first
    if given is None:
        assert not seen & set(chosen(LINES.inside))
        assert index.familiarity(first) is None and not len(index.tensors.unseen)
        assert "not measured" in index.found("x", *asked(model, PROMPTS[0])).sentence
        return
    scores = [
        float(index.tensors.score(states[~states.isnan().flatten(1).any(1)]).mean())
        for states in (read(model, chosen(side)) for side in (given.inside, given.outside))
    ]
    assert scores[0] > scores[1]


def test_with_too_few_questions_to_rank_among_it_is_not_measured(model):
    enough = len(model.index.tensors.unseen)
    for least, ranked in ((enough, enough), (enough + 1, 0)):
        settings = replace(SETTINGS, least=least, steps=1)
        index = make_index(model, EXAMPLES, settings, own_lines=LINES)
        assert len(index.tensors.unseen) == ranked
    # Of so many like training, one has the lowest rank: no more than are called far by their rank.
    assert 1 / FitSettings().least <= FAR


@pytest.mark.parametrize(
    "text, sentence",
    [
        (None, "cannot be read"),
        ("[", "cannot be read"),
        ('{"outside": {}, "inside": {}}', "no kind is outside"),
        (
            '{"outside": {"other matters": {"choose": ["a"], "kept": ["b"]}}, "inside": {}}',
            "no kin",
        ),
        ('{"outside": {"a": {"choose": ["a"], "kept": []}}, "inside": {}}', "outside.a.kept"),
        ('{"outside": {"a": {"choose": [1], "kept": ["b"]}}, "inside": {}}', "outside.a.choose"),
        ('{"outside": {"a": {"choose": ["a"], "kept": ["b"]}}}', "inside"),
    ],
)
def test_lines_of_another_layout_are_refused(tmp_path, text, sentence):
    path = tmp_path / "lines.json"
    if text:
        path.write_text(text)
    with pytest.raises(DataError, match=sentence):
        Lines.load(str(path))


def test_lines_of_ones_own_are_read(tmp_path):
    kind = {"choose": ["a"], "kept": ["b", "c"]}
    path = tmp_path / "lines.json"
    path.write_text(json.dumps({"outside": {"weather": kind}, "inside": {"cooks": kind}}))
    assert list(lines(Lines.load(str(path)).outside, "kept")) == [
        ("weather", "b"),
        ("weather", "c"),
    ]
    path.write_text(json.dumps({"outside": {"weather": kind}, "inside": {"weather": kind}}))
    with pytest.raises(DataError, match="same name on both sides"):
        Lines.load(str(path))


def test_a_question_is_ranked_among_once_for_each_of_its_wordings(monkeypatch):
    several = [replace(e, prompt=e.prompt.lower()) for e in EXAMPLES[:6]]

    def reworded(example, rng, split):
        fits = example.labels["task"] == "treat"
        return replace(example, prompt=f"In other words, {example.focus}?") if fits else example

    monkeypatch.setattr(fitting, "paraphrase", reworded)
    questions = fitting.unseen_questions([*several, several[0]], random.Random(0))
    plain = [e.prompt for e in several]
    assert questions[: len(plain)] == plain  # the one that is asked twice is there once
    other = {f"In other words, {e.focus}?" for e in several if e.labels["task"] == "treat"}
    assert other and set(questions[len(plain) :]) == other and len(questions) == len(set(questions))


def test_three_sentences_that_call_no_answer_right_or_wrong():
    assert [sentence_of(x) for x in (0.0, FAR, EDGE)] == list(SENTENCES)
    assert [sentence_of(x) for x in (FAR - 1e-9, EDGE - 1e-9, 1.0)] == list(SENTENCES)
    near, other = (Source("s", "t", "", "", x) for x in (VERY_NEAR, VERY_NEAR - 1e-9))
    assert Found(FAR, (near,)).sentence == SENTENCES[2]
    assert Found(FAR, (other,)).sentence == SENTENCES[1]
    # what lies very near an example is not told to be unlike all of them
    assert Found(FAR - 1e-9, (near,)).sentence == SENTENCES[2]
    assert Found(FAR - 1e-9, (other,)).sentence == SENTENCES[0]
    assert not Found(FAR - 1e-9, (near,)).far and Found(FAR - 1e-9, (other,)).far
    assert (near.near, other.near) == ("very near", "near")
    assert Found(FAR - 1e-9, ()).far and not Found(FAR, ()).far
    away = replace(near, similarity=0.6 - 1e-9)
    said = Found(EDGE, (near, other, away)).sentence
    assert said == SENTENCES[2][:-1] + ", though 1 of its 3 nearest is not near."
    said = Found(EDGE, (away, away)).sentence
    assert said == SENTENCES[2][:-1] + ", though none of its nearest is near."
    for sentence in SENTENCES:
        assert not {"answer", "wrong", "right", "correct", "true"} & set(sentence.lower().split())


def test_a_model_that_is_saved_elsewhere_takes_its_index_and_its_words_along(
    model, worlds, tmp_path, monkeypatch
):
    monkeypatch.setattr(model, "words", Words.of({key("asthma")}, model.info.sha256))
    model.save_pretrained(tmp_path)
    kept = sorted(file.name for file in (tmp_path / "index").iterdir())
    assert kept == sorted([FACTS, VECTORS, WORDS])
    again = AtMoe.from_pretrained(tmp_path, base=worlds("llama").directory)
    plan = model.route(PROMPTS[0])
    assert again.found(PROMPTS[0], plan) == model.found(PROMPTS[0], plan)
    assert "asthma" in again.words


def test_another_models_index_is_refused_and_the_model_answers_without(
    model, saved, worlds, tmp_path, caplog
):
    with pytest.raises(AssetError, match="made for another model .*atmoe index"):
        Index.load(saved[0] / "index", "f" * 64, DEPTH, HIDDEN, LAYOUT.groups)
    other = tmp_path / "other"
    worlds("llama").planned().save_pretrained(other)
    config = json.loads((other / "atmoe.json").read_text())
    (other / "atmoe.json").write_text(json.dumps(config | {"name": "another"}))
    model.index.save(other / "index")
    again = AtMoe.from_pretrained(other, base=worlds("llama").directory)
    assert again.index is None and "another model" in caplog.text
    assert again.found(PROMPTS[0], again.route(PROMPTS[0])) is None


def test_without_a_planner_there_is_no_index(worlds):
    with pytest.raises(AssetError, match="no planner.*--depth"):
        make_index(worlds("llama").model, EXAMPLES[:5], SETTINGS)


def facts_with(**changed):
    def damage(folder):
        data = json.loads(gzip.decompress((folder / FACTS).read_bytes()))
        for name, value in changed.items():
            data[name] = value(data[name])
        (folder / FACTS).write_bytes(gzip.compress(json.dumps(data).encode()))

    return damage


def tensors_with(**changed):
    def damage(folder):
        tensors = load_file(folder / VECTORS)
        for name, value in changed.items():
            tensors[name] = value(tensors[name])
        save_file({k: v.contiguous() for k, v in tensors.items()}, folder / VECTORS)

    return damage


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / FACTS).unlink(),
        lambda folder: (folder / VECTORS).write_bytes(b"nothing"),
        lambda folder: (folder / FACTS).write_bytes(b"nothing"),
        lambda folder: (folder / FACTS).write_bytes((folder / FACTS).read_bytes()[:-40]),
        lambda folder: (folder / FACTS).write_bytes(gzip.compress(bytes(2**27))),
        facts_with(addresses=lambda a: [*a[:-1], "javascript:alert(1)"]),
        facts_with(addresses=lambda a: [*a[:-1], 'https://x.org/"onclick=']),
        facts_with(topic=lambda t: t[:-1]),
        facts_with(topic=lambda t: [*t[:-1], 10**6]),
        facts_with(topic=lambda t: [*t[:-1], -1]),
        facts_with(topic=lambda t: [*t[:-1], "0"]),
        facts_with(labels=lambda columns: columns[:-1]),
        facts_with(labels=lambda columns: [[-2] * len(c) for c in columns]),
        facts_with(groups=lambda g: g[::-1]),
        facts_with(format=lambda f: 2),
        tensors_with(vectors=lambda t: t[1:]),
        tensors_with(vectors=lambda t: t.float()),
        tensors_with(projection=lambda t: t * float("nan")),
        tensors_with(unseen=lambda t: t.flip(0)),
        tensors_with(layers=lambda t: t + DEPTH),
        tensors_with(familiar=lambda t: t[1:]),
    ],
)
def test_a_broken_file_is_refused(model, tmp_path, damage):
    model.index.save(tmp_path)
    damage(tmp_path)
    with pytest.raises(AssetError, match="atmoe index"):
        loaded(tmp_path, model)


def test_it_keeps_within_its_size(model, tmp_path):
    wide = torch.zeros(len(TRAINING), 20_000, dtype=torch.int8)
    tensors = replace(model.index.tensors, vectors=wide)
    with pytest.raises(AssetError, match="at most 6,291,456"):
        replace(model.index, tensors=tensors).save(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("family", ["llama", "qwen3", "gemma3"])
def test_many_prompts_are_read_as_one_is(worlds, family):
    """What all begin with is read once, and the numbers are those of a route."""
    world = worlds(family)
    torch.manual_seed(3)
    model = world.planned()
    prompts = [*PROMPTS, "\n\nBegins otherwise", "", *(e.prompt for e in EXAMPLES[:40])]
    states = read(model, prompts)
    assert states.shape == (len(prompts), DEPTH, HIDDEN)
    for prompt, row in zip(prompts, states):
        if prompt:
            torch.testing.assert_close(row, model.route(prompt).first, atol=2e-5, rtol=1e-4)
        else:
            assert row.isnan().all()


def test_in_bfloat16_what_pads_the_template_is_not_read(saved, worlds):
    model = AtMoe.from_pretrained(saved[0], worlds("llama").directory, "bfloat16", device="cpu")
    assert model.encode(PROMPTS[0]).start % 16, "the template's beginning must need padding"
    alone = torch.stack([model.route(prompt).first.float() for prompt in PROMPTS])
    apart = (read(model, PROMPTS) - alone).norm(dim=-1) / alone.norm(dim=-1)
    assert apart.max() < 0.02  # bfloat16 rounds by 0.004


def test_a_look_up_costs_no_pass(model, monkeypatch):
    plan = model.route(PROMPTS[0])
    passes = []
    for module in (model.base.base_model, *model.base.base_model.layers):
        module.register_forward_pre_hook(lambda *_: passes.append(1))
    monkeypatch.setattr(forwarding, "first_reading", lambda *_: passes.append(1))
    assert model.found(PROMPTS[0], plan).nearest and not passes


def test_a_plan_has_what_the_planner_read_however_it_was_made(model):
    batch = [model.encode(p) for p in PROMPTS]
    _, plans, _ = model.forward(model.collate(batch), logits=False)
    for prompt, plan in zip(PROMPTS, plans):
        own = model.route(prompt)
        torch.testing.assert_close(plan.first, own.first, atol=2e-5, rtol=1e-4)
        steered = Steering((Override("task/warn", State.FIXED, 0.5),)).apply(own)
        assert torch.equal(steered.first, own.first)
        assert "first" not in own.to_dict()
        # and how likely it took everybody to be asked for, which is written too
        with torch.no_grad():
            likely = model.router.planner(own.first[None], [prompt])[0]
        torch.testing.assert_close(own.likely, likely)
        torch.testing.assert_close(plan.likely, own.likely, atol=2e-5, rtol=1e-3)
        assert torch.equal(steered.likely, own.likely)
        again = RoutingPlan.from_dict(json.loads(json.dumps(own.to_dict())))
        assert torch.equal(again.likely, own.likely) and again.doubts == own.doubts
    team = model.router.planner.team(plans[0].first[None], PROMPTS[:1])
    assert team.experts.sum() == len(plans[0].team)


def test_route_and_record_carry_it(capsys, saved, model, tmp_path):
    said = run(capsys, "route", PROMPTS[0], *saved[1])
    found = model.found(PROMPTS[0], model.route(PROMPTS[0])).to_dict()
    assert {k: said[k] for k in found} == found and 0 <= said["familiarity"] <= 1
    record = model.answer(PROMPTS[0], sampling=Sampling(2))
    steering = Steering((Override("task/warn", State.FIXED, 0.5),))
    steered = model.answer(PROMPTS[0], steering, Sampling(2))
    for one in (record, steered):
        again = Record.from_json(one.to_json())
        assert again.nearest == one.nearest and again.familiarity == one.familiarity
        assert {k: again.to_dict()[k] for k in found} == found


def test_without_an_index_nothing_is_measured(capsys, saved, worlds, model):
    plain = worlds("llama").model.answer(PROMPTS[0], sampling=Sampling(2))
    assert plain.nearest is None and not {"nearest", "familiarity"} & plain.to_dict().keys()
    assert Record.from_json(plain.to_json()).familiarity is None


@pytest.mark.parametrize(
    "damage",
    [
        {"familiarity": 1.5},
        {"familiarity": "0.5"},
        {"nearest": [{}]},
        {"nearest": {}},
        {"nearest": [dict(source="s", topic="t", task="", address="ftp://x.org", similarity=0.5)]},
        {"nearest": [dict(source="s", topic="t", task="", address="javascript:1", similarity=0.5)]},
        {"nearest": [dict(source="s", topic="t", task="", address="", similarity=2.0)]},
        {"nearest": [dict(source="s", topic="t", task="", address="", similarity=0.5)] * 17},
    ],
)
def test_a_broken_record_is_refused(model, damage):
    data = model.answer(PROMPTS[0], sampling=Sampling(2)).to_dict()
    with pytest.raises(AtMoeError, match="The record cannot be read"):
        Record.from_dict(data | damage)


def test_facts_come_back_from_their_bytes():
    facts = Facts.of(EXAMPLES, LAYOUT.groups)
    assert Facts.from_bytes(facts.to_bytes("a" * 64), "f") == (facts, "a" * 64)
    assert facts.to_bytes("a" * 64) == facts.to_bytes("a" * 64)
