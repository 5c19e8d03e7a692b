"""The study of routing: shares are the router's, words unseen, bands replaced as it says."""

import pytest
import torch

from atmoe import AtMoe, Layout, RoutingPlan
from atmoe.cli.study import _routing
from atmoe.data import GROUPS, MEDICAL, Description, Example
from atmoe.data import templates as wording
from atmoe.errors import DataError
from atmoe.mixture.config import Info
from atmoe.mixture.experts import Adapter, layer_linears
from atmoe.mixture.store import build
from atmoe.routing.router import GroupedRouter
from atmoe.steering.overrides import BANDS, layer_range
from atmoe.study.agreement import agreement_of, confusion, doubt_of, reading_of
from atmoe.study.routing import study, unseen_instructions

MEDICAL_SET = Description.load(MEDICAL)
KINDS = {
    "information": "overview",
    "symptoms": "diagnosis",
    "treatment": "treatment",
    "causes": "causes",
}
EXAMPLES = [
    Example(
        id=f"{d}{k}",
        prompt=f"What about {k} of {d} ?",
        answer=f"The {k} of {d} is this.",
        disease=d,
        source="s",
        kind=k,
        focus=d,
        labels={
            "task": KINDS[k],
            "specialty": GROUPS["specialty"][i % 6],
            "audience": ("patient", "reference")[i % 2],
        },
    )
    for i, d in enumerate(
        ["Glooma", "Fretitis", "Sighing disease", "Moping", "Dourness", "Frownosis"]
    )
    for k in KINDS
]


@pytest.fixture(scope="module")
def medical_tiny(worlds) -> AtMoe:
    """The medical layout over a tiny base, with a router of random weights."""
    llama = worlds("llama")
    base, layout = llama.base(), Layout.of(5, GROUPS)
    generator = torch.Generator().manual_seed(8)
    adapters = [
        Adapter.random(base, layer_linears(base), 1, 2.0, generator) for _ in layout.expert_names
    ]
    for adapter in adapters:
        for _, b in adapter.factors.values():
            b.normal_(std=0.3, generator=generator)
    router = GroupedRouter(layout, 48, gain=1.2)
    for parameter in (router.group_weight, router.expert_weight):
        parameter.data.normal_(std=0.5, generator=generator)
    info = Info("tiny", max_prompt_tokens=400)
    return AtMoe(*build(base, llama.tokenizer, adapters, router.requires_grad_(False), info))


def test_instructions_are_in_words_training_never_uses():
    one = unseen_instructions(EXAMPLES, MEDICAL_SET, 30, 0, two=False)
    train = {t.text.split("{x}")[0] for t in wording.single_templates() if t.split == "train"} - {
        ""
    }
    heads = [t.text.split("{x}")[0] for t in wording.single_templates() if t.split == "evaluation"]
    assert len({e.prompt for e in one}) == len(one) == 30
    for e in one:
        assert any(e.prompt.startswith(head) for head in heads) and not e.also
        assert not any(e.prompt.startswith(text) for text in train if len(text) > 25)
    two = unseen_instructions(EXAMPLES, MEDICAL_SET, 10, 0, two=True)
    assert len(two) == 10 and all(
        set(e.also) == {"task"} and e.also["task"] != e.labels["task"] for e in two
    )


def test_agreement_counts_the_largest_share():
    layout = Layout.of(2, {"g": ["a", "b"], "h": ["c", "d", "e"]})
    rows = [
        Example(id=str(i), prompt="p", answer="a", labels=labels, disease="d", source="s", kind="k")
        for i, labels in enumerate([{"g": "a", "h": "e"}, {"g": "b"}, {"g": "b", "h": "c"}])
    ]
    shares = torch.tensor(
        [[0.6, 0.4, 0.2, 0.3, 0.5], [0.6, 0.4, 1, 0, 0], [0.1, 0.9, 0.3, 0.4, 0.3]]
    )
    assert agreement_of(layout, shares, rows) == {"g": pytest.approx(2 / 3), "h": 0.5}


def row(i: int, labels, also=()) -> Example:
    return Example(
        id=str(i),
        prompt="p",
        answer="a",
        labels=labels,
        also=dict(also),
        disease="d",
        source="s",
        kind="k",
    )


def test_what_is_read_and_takes_part_is_told_from_what_is_read_alone():
    layout = Layout.of(1, {"g": ["a", "b"], "h": ["c", "d"], "i": ["e"]})

    def read(expert, group) -> RoutingPlan:
        return RoutingPlan(layout, [[group, 1 - group, 0]], [[*expert, 1, 0, 1]])

    plans = [read((0.9, 0.1), s) for s in (0.5, 0.5, 0, 0)] + [read((0.2, 0.8), 0)]
    rows = [row(n, {"g": label, "h": "c"}) for n, label in enumerate("abaab")]
    told = reading_of(plans, rows)
    # a read, b misread, a and a read without weight, b read without weight
    assert told["g"] == {"labels": 5, "right_taking_part": 0.2, "right_absent": 0.6, "wrong": 0.2}
    assert told["h"] == {"labels": 5, "right_taking_part": 1.0, "right_absent": 0.0, "wrong": 0.0}
    assert told.keys() == {"g", "h"}
    shares = torch.stack([plan.expert_shares.mean(0) for plan in plans])
    for group, fraction in agreement_of(layout, shares, rows).items():
        assert told[group]["right_taking_part"] + told[group]["right_absent"] == fraction


def test_of_two_needs_each_is_right():
    layout = Layout.of(1, {"g": ["a", "b", "c"]})
    rows = [row(n, {"g": "a"}, {"g": "b"}) for n in range(3)]
    shares = torch.tensor([[0.6, 0.4, 0], [0.4, 0.6, 0], [0.2, 0.2, 0.6]])
    plans = [RoutingPlan(layout, [[1.0]], share[None], likely=share) for share in shares]
    assert agreement_of(layout, shares, rows) == {"g": pytest.approx(2 / 3)}
    assert confusion(layout, shares, rows) == {"g": {"a": {"a": 1, "c": 1}, "b": {"b": 1}}}
    assert reading_of(plans, rows)["g"]["wrong"] == pytest.approx(1 / 3)
    assert doubt_of(plans, rows)["g"] == {"share": 0, "wrong": None, "wrong_else": 1 / 3}
    assert rows[0].wanted("g") == ("a", "b") and rows[0].wanted("h") == ()


def test_what_doubt_tells_is_counted_where_a_group_takes_part():
    layout = Layout.of(1, {"g": ["a", "b"], "h": ["c"], "i": ["d", "e"]})

    def read(experts, likely, groups=(0.4, 0.3, 0.3)) -> RoutingPlan:
        return RoutingPlan(layout, [groups], [experts], likely=likely)

    sure, unsure = [0.9, 0.1, 0.2, 0.8, 0.1], [0.3, 0.4, 0.2, 0.8, 0.1]
    plans = [
        read([0.9, 0.1, 1, 1, 0], sure),  # a, sure and right
        read([0.9, 0.1, 1, 1, 0], sure),  # b, sure and wrong
        read([0.3, 0.7, 1, 1, 0], unsure),  # b, in doubt and right
        read([0.3, 0.7, 1, 1, 0], unsure),  # a, in doubt and wrong
        read([0.3, 0.7, 1, 1, 0], unsure),  # a, the same
        read([0.3, 0.7, 1, 1, 0], unsure, (0, 0.5, 0.5)),  # a, and the group takes no part
        read([0.9, 0.1, 1, 1, 0], sure),  # not labelled
    ]
    rows = [
        Example(id=str(i), prompt="p", answer="a", labels=each, disease="d", source="s", kind="k")
        for i, each in enumerate([{"g": x, "h": "c"} for x in "abbaaa"] + [{"i": "d"}])
    ]
    told = doubt_of(plans, rows)
    assert told["g"] == {"share": 0.6, "wrong": pytest.approx(2 / 3), "wrong_else": 0.5}
    assert told["i"] == {"share": 0.0, "wrong": None, "wrong_else": 0.0}
    assert told.keys() == {"g", "i"}  # h has one expert: there is nothing to doubt
    assert doubt_of([*plans[:1], read([0.9, 0.1, 1, 1, 0], None)], rows[:2]) == {}
    assert doubt_of([], []) == {}


def test_the_whole_study(medical_tiny):
    model = medical_tiny
    report = study(model, EXAMPLES, EXAMPLES[:5], MEDICAL_SET, count=20, seed=3, batch=7)
    one = unseen_instructions(EXAMPLES, MEDICAL_SET, 20, 3, two=False)
    plans = [model.route(e.prompt) for e in one]
    average = RoutingPlan.mean(plans)
    assert report["instructions"] == 20 and sum(report["load"].values()) == pytest.approx(
        1, abs=1e-4
    )
    assert report["load"]["task/causes"] == pytest.approx(
        float(average_weight(plans, "task/causes")), abs=1e-4
    )
    assert report["group_shares"]["task"][1] == pytest.approx(
        float(average.group_shares[:, 0].mean()), abs=1e-4
    )
    for band in (*BANDS, "all"):
        layers, total, tokens = list(layer_range(band, 5)), 0.0, 0
        for e in EXAMPLES[:5]:
            plan = model.route(e.prompt)
            s, q = plan.group_shares.clone(), plan.expert_shares.clone()
            s[layers], q[layers] = average.group_shares[layers], average.expert_shares[layers]
            logp = model.score(e.prompt, e.answer, [RoutingPlan(model.layout, s, q)])
            total, tokens = total - float(logp.sum()), tokens + logp.numel()
        assert report["bands"][band]["loss_with_average_plan"] == pytest.approx(
            total / tokens, abs=1e-3
        )
    assert report["doubt"] == doubt_of(plans, one)
    assert report["two_needs"]["instructions"] == 10 and 0 < report["load_entropy"] < 1
    assert (
        set(report["by_task"]) <= set(GROUPS["task"])
        and len(next(iter(report["by_task"].values()))["group_shares"]) == 5
    )
    with pytest.raises(DataError, match="No unseen wording"):
        study(
            model,
            [
                Example(
                    id="x",
                    prompt="p",
                    answer="a",
                    labels={"task": "causes"},
                    disease="d",
                    source="s",
                    kind="own",
                )
            ],
            [],
            MEDICAL_SET,
        )


def average_weight(plans, name):
    return torch.stack([p.weights[:, p.layout.expert_index(name)].mean() for p in plans]).mean()


def test_a_person_reads_beside_the_agreement_what_came_of_it(medical_tiny):
    report = study(medical_tiny, EXAMPLES, EXAMPLES[:2], MEDICAL_SET, count=5)
    said = "\n".join(_routing(report))
    for group, read in report["reading"].items():
        assert (
            f"{group}, of {read['labels']} labels: read and taking part "
            f"{read['right_taking_part']:.1%}" in said
        )
