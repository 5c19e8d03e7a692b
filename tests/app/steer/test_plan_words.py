"""Sentences say what the plan and the record hold: no model, plans made by hand."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from app.ask import words as answer_text
from app.compare.words import SAME_PLAN, first_words
from app.controls import Cells, Controls, Setting
from app.following import waiting
from app.markup import asked
from app.session import Progress
from app.steer import words as text
from app.steer.panel import shown
from app.view import View
from atmoe import Layout, Override, RoutingPlan, State, Steering
from atmoe.explanation.coherence import Coherence
from atmoe.flags.finding import NOT_HELD
from atmoe.report.words import NOBODY

LAYOUT = Layout.of(4, {"task": ("treat", "warn"), "field": ("heart", "lung", "skin")})


def plan(groups, task=((0.8, 0.2),) * 4, field=((0.1, 0.7, 0.2),) * 4) -> RoutingPlan:
    return RoutingPlan(
        LAYOUT, torch.tensor(groups), torch.cat([torch.tensor(task), torch.tensor(field)], 1)
    )


EVEN = plan([[0.7, 0.3], [0.7, 0.3], [0.4, 0.6], [0.2, 0.8]])


ABSTRACT = "RESULTS: 12 (30%) of 40 patients had fever (P=0.2), and 3 had none. " * 4


def progress(
    finish="stop", ended=True, logp=-1.214, answer="Rest and water.", tokens=5
) -> Progress:
    record = SimpleNamespace(
        answer=answer,
        answer_tokens=(1,) * tokens,
        finish=finish,
        sampling={"max_new_tokens": 160},
        timings={"decode_tokens_per_s": 31.4},
        versions={},
        flags=None,
        prompt=ABSTRACT,
    )
    return Progress(record, ended, logp and Coherence(0.125, logp, tokens))


def test_reading_of_the_routers_plan():
    said = text.reading(View.of(EVEN, Steering()))
    assert (
        "**treat** received 80% of the task share and **lung** received 70% of the field share"
        in said
    )
    assert "**task** received 50% and **field** received 50%" in said
    assert "the largest share went to task in layers 0–1 and field in layers 2–3" in said
    assert "steering" not in said


def test_the_team_is_named():
    alone = plan(
        [[0.7, 0.3]] * 4, task=((1.0, 0.0),) * 4, field=((0.5, 0.5, 0.0),) * 2 + ((0, 1, 0),) * 2
    )
    said = text.reading(View.of(alone, Steering()))
    assert said.startswith("3 of 5 experts take part: treat, heart and lung. ")
    assert text.reading(View.of(EVEN, Steering())).startswith("All 5 experts take part. ")
    view = View.of(alone, Steering((Override("task/warn", State.FIXED, 0.25),)))
    assert text.share_notes(view)["task/warn"] == (
        "Takes no part by the router; a share calls it in · 25% in force"
    )
    assert text.share_notes(view)["field/skin"].startswith("Takes no part by the router")
    assert text.share_notes(view)["field/heart"].startswith("Router gave 25%")


def test_reading_names_the_change_and_both_plans():
    said = text.reading(
        View.of(EVEN, Steering((Override("task", State.FIXED, 0.9),), strength=0.5))
    )
    assert "**task** received 50% and **field** received 50%" in said
    assert (
        "(task fixed at 90% in all layers; strength 0.5): "
        "**task** received 90% and **field** received 10%" in said
    )


def test_a_change_to_what_the_router_gave_is_told_to_change_nothing():
    alone = plan([[0.7, 0.3]] * 4, task=((1.0, 0.0),) * 4)
    view = View.of(alone, Steering((Override("task/treat", State.FIXED, 1.0),)))
    assert view.same and shown(view)["same"]
    assert text.reading(view).endswith(
        "fixed at 100% in all layers): the same shares as the router's."
    )
    controls = Controls({"task/treat": Setting(State.FIXED, 100)})
    assert text.whose_weights(controls, view.same) == "1 change · same shares"
    record = SimpleNamespace(answer="Rest.", plan=view.plan)
    router = SimpleNamespace(answer="Rest.", plan=alone)
    assert SAME_PLAN in first_words(router, record)
    moved = View.of(alone, Steering((Override("task/treat", State.FIXED, 0.9),)))
    assert not moved.same and not shown(moved)["same"]
    assert "**treat** received 90% of the task share" in text.reading(moved)
    assert "The same, word by word" in first_words(
        router, SimpleNamespace(answer="Rest.", plan=moved.plan)
    )
    assert not shown(View.of(alone, Steering()))["same"]  # nothing was set


@pytest.mark.parametrize("off", [EVEN.layout.group_names, EVEN.layout.expert_names])
def test_with_all_off_nobody_takes_part(off):
    view = View.of(EVEN, Steering(tuple(Override(target, State.OFF) for target in off)))
    assert text.reading(view).endswith(f"off in all layers): {NOBODY}")


def test_reading_claims_no_cause():
    for steering in (Steering(), Steering((Override("task", State.OFF),), 0.0)):
        said = text.reading(View.of(EVEN, steering)).lower()
        assert not any(word in said for word in ("because", "importan", "caused", "due to"))


@pytest.mark.parametrize(
    ("groups", "said"),
    [
        ([[0.9, 0.1]] * 4, "the largest share went to task in every layer"),
        (
            [[0.9, 0.1], [0.1, 0.9], [0.1, 0.9], [0.8, 0.2]],
            "task in layer 0 and layer 3 and field in layers 1–2",
        ),
    ],
)
def test_leaders(groups, said):
    assert said in text.reading(View.of(plan(groups), Steering()))


def test_leaders_are_counted_where_they_alternate():
    layout = Layout.of(6, {"a": ("x",), "b": ("y",)})
    shares = torch.tensor([[0.9, 0.1], [0.1, 0.9]] * 3)
    said = text.reading(View.of(RoutingPlan(layout, shares, torch.ones(6, 2)), Steering()))
    assert "of the 6 layers, the largest share went to a in 3 and b in 3" in said


@pytest.mark.parametrize(
    ("controls", "said"),
    [
        (Controls(), "Router's own weights"),
        (Controls({"task": Setting(State.OFF, 0)}), "1 change"),
        (Controls(strength=0.0), "1 change"),
        (
            Controls(
                {"task/treat": Setting(State.FIXED, 50), "field": Setting(State.OFF, 0)},
                2.0,
                cells=(Cells("task", 1, 2, State.OFF),),
            ),
            "4 changes",
        ),
        (Controls({"task": Setting(State.OFF, 0)}, on=False), "Switched off · 1 change kept"),
    ],
)
def test_badge_counts_what_the_list_holds(controls, said):
    assert text.whose_weights(controls) == said


def test_the_routing_is_one_line_of_who_leads():
    view = View.of(plan([[0.7, 0.3]] * 4, field=((0.45, 0.5, 0.05),) * 4), Steering())
    assert text.routing_line(view, {"task": "Need"}) == (
        "The router reads · Need: **treat** · field: **lung and heart** · 5 of 5 experts take part"
    )


def test_the_line_says_where_the_router_doubts_and_what_to_do_then():
    sure = plan([[0.7, 0.3]] * 4, field=((0.45, 0.5, 0.05),) * 4)
    unsure = replace(sure, likely=torch.tensor([0.9, 0.1, 0.3, 0.4, 0.2]))
    view = View.of(unsure, Steering())
    assert text.routing_line(view, {"field": "Field"}) == (
        "The router reads · task: **treat** · Field: **lung and heart** ⚠ *or skin?* · "
        "5 of 5 experts take part · ⚠ in doubt: click another in its row of shares"
    )
    # what was set by hand settles it, and what was set of another group, or of all its experts, not
    for target, doubtful in (("field/skin", False), ("task/warn", True), ("field", True)):
        steered = View.of(unsure, Steering((Override(target, State.FIXED, 0.8),)))
        assert ("⚠" in text.routing_line(steered, {})) is doubtful
        assert "field: **lung and heart**" in text.routing_line(steered, {})
    left = View.of(unsure, Steering((Override("field/skin", State.ROUTER),)))
    assert "⚠" in text.routing_line(left, {})
    assert text.reading(view).endswith(" The router doubts: field (lung, or else heart or skin).")
    # of all that may be meant, everybody is named already
    both = replace(sure, likely=torch.tensor([0.4, 0.3, 0.9, 0.1, 0.1]))
    even = replace(both, expert_shares=torch.tensor([[0.5, 0.5, 0.1, 0.7, 0.2]] * 4))
    line = text.routing_line(View.of(even, Steering()), {})
    assert "task: **treat and warn** ⚠ ·" in line
    # beside another model's controls a click would settle nothing
    line = text.routing_line(view, {}, controls=False)
    assert "⚠ *or skin?*" in line and line.endswith("· ⚠ in doubt")
    assert "doubt" not in text.routing_line(View.of(sure, Steering()), {})


def test_changes():
    steering = Steering(
        (
            Override("task", State.FIXED, 0.6, "late"),
            Override("field", State.OFF, None, "2-3"),
            Override("task", State.ROUTER, None, "3"),
        ),
        0,
    )
    assert text.changes(steering) == (
        "task fixed at 60% in the late layers; field off in layers 2–3; "
        "task left to the router in layer 3; strength 0 (the base model alone)"
    )
    alike = Steering(
        tuple(
            Override(target, State.OFF, None, scope)
            for scope in ("0-1", "3")
            for target in ("task", "field")
        )
    )
    assert text.changes(alike) == "task and field off in layers 0–1; task and field off in layer 3"


def test_the_head_of_an_answer_names_the_expert_first_and_no_more_than_it_must():
    steering = Steering(
        (
            Override("field/skin", State.FIXED, 0.8),
            Override("task", State.OFF, scope="late"),
            Override("field/heart", State.ROUTER, scope="2-3"),
        ),
        0.5,
    )
    assert text.head(steering) == (
        "skin 80%, task off in the late layers, heart left to the router in layers 2–3, "
        "strength 0.5"
    )
    fine = tuple(
        Override("task", State.FIXED, share, layer)
        for share, layer in ((0.125, "0"), (0.004, "1"), (0.996, "2"), (0.29, "3"))
    )
    assert text.head(Steering(fine)) == (
        "task 12.5% in layer 0, task 0.4% in layer 1, task 99.6% in layer 2, task 29% in layer 3"
    )
    html = asked("Gout?", text.head(steering), whole=text.changes(steering))
    assert "<b>skin 80%, task off" in html and "field/skin fixed at 80% in all layers" in html


def test_facts():
    assert answer_text.facts(progress()) == "3 words · reads at school grade 1 · ended by itself"
    assert answer_text.rest(progress()) == (
        "5 tokens · mean log-probability −1.21 per token · repeated trigrams 12% · "
        "31 tokens per second"
    )
    assert "stopped at the 160-token limit" in answer_text.facts(progress("length"))
    assert "stopped before its end" in answer_text.facts(progress("cancelled"))
    growing = progress(ended=False, answer="Rest", tokens=1)
    assert answer_text.facts(growing) == "Still being written · 1 word · 1 of at most 160 tokens"
    assert answer_text.rest(growing) == ""
    one = progress(tokens=1)
    one.record.timings = {"prefill_s": 0.2}
    assert answer_text.rest(one).endswith("repeated trigrams 12%")
    before = progress()
    before.record.timings = {}
    assert answer_text.rest(before).endswith(f" · {answer_text.BEFORE}")
    unflagged = progress()
    unflagged.record.flags = ()
    assert answer_text.rest(unflagged).endswith(f" · {answer_text.UNFLAGGED}")
    # what was not held against the question's text does not pass as checked
    for flags in ((), (object(),)):
        unflagged.record.flags = flags
        unflagged.record.prompt = "72M, Na 128, on warfarin 5 mg. What now?"
        assert answer_text.rest(unflagged).endswith(f" · {NOT_HELD}")
    assert "log-probability" not in answer_text.rest(progress(logp=None))
    assert "grade" not in answer_text.facts(progress(answer="12 + 30"))
    # the grade is a formula for English
    assert answer_text.facts(progress(), "de") == "3 words · ended by itself"
    assert answer_text.facts(progress(answer="多喝水。")) == "4 characters · ended by itself"


@pytest.mark.parametrize(
    ("overrides", "group", "said"),
    [
        ((), "task", "Router gave 50% on average · untouched"),
        (
            (Override("task", State.FIXED, 0.9),),
            "task",
            "Router gave 50% on average · 90% in force",
        ),
        (
            (Override("task", State.FIXED, 0.9),),
            "field",
            "Router gave 50% on average · 10% in force (shares what is left)",
        ),
        (
            (Override("task", State.FIXED, 0.5),),
            "task",
            "Router gave 50% on average · the same in force",
        ),
        (
            (Override("task", State.OFF),),
            "task",
            "Router gave 50% on average · off: 0% in force, and nobody takes it over",
        ),
        ((Override("task", State.OFF),), "field", "Router gave 50% on average · untouched"),
        (
            (Override("task", State.OFF, None, "2-3"),),
            "task",
            "Router gave 50% on average · 35% in force, off in some layers, "
            "where nobody takes it over",
        ),
        (
            (Override("task", State.FIXED, 0.5, "0-1"), Override("task", State.OFF, None, "3")),
            "task",
            "Router gave 50% on average · 35% in force, set in some layers",
        ),
        (
            (Override("field/skin", State.FIXED, 0.6),),
            "field/skin",
            "Router gave 20% on average · 60% in force",
        ),
        (
            (Override("field/skin", State.FIXED, 0.6),),
            "field/lung",
            "Router gave 70% on average · 35% in force (shares what is left)",
        ),
    ],
)
def test_share_note(overrides, group, said):
    assert text.share_notes(View.of(EVEN, Steering(overrides)))[group] == said


@pytest.mark.parametrize(
    ("overrides", "group", "said"),
    [
        (
            (Override("task", State.FIXED, 0.504),),
            "task",
            "Router gave 50.0% on average · 50.4% in force",
        ),
        (
            (Override("task", State.FIXED, 0.504),),
            "field",
            "Router gave 50.0% on average · 49.6% in force (shares what is left)",
        ),
        (
            (Override("task", State.FIXED, 0.5),),  # another at each layer, and the same mean
            "field",
            "Router gave 50% on average · 50% in force (shares what is left)",
        ),
        (
            (Override("task", State.FIXED, 0.004),),
            "task",
            "Router gave 50% on average · less than 1% in force",
        ),
        (
            (Override("field/skin", State.FIXED, 0.996),),
            "field/skin",
            "Router gave 20% on average · more than 99% in force",
        ),
    ],
)
def test_rounding_does_not_decide_whether_a_share_is_the_same_or_none_or_all(
    overrides, group, said
):
    assert text.share_notes(View.of(EVEN, Steering(overrides)))[group] == said


def test_an_expert_that_is_called_in_at_a_small_share_is_not_said_to_be_as_before():
    alone = plan([[1.0, 0.0]] * 4, field=((0.0, 1.0, 0.0),) * 4)
    view = View.of(alone, Steering((Override("field/skin", State.FIXED, 0.004),)))
    assert text.share_notes(view)["field/skin"] == (
        "Its group takes no part by the router; a share calls it in · less than 1% in force"
    )
    assert "**lung** received more than 99% of the field share" in text.reading(view)


def test_experts_that_lead_with_equal_shares_are_all_named():
    halves = tuple(Override(f"field/{e}", State.FIXED, 0.5) for e in ("heart", "skin"))
    said = text.reading(View.of(EVEN, Steering(halves)))
    assert "**heart** and **skin** received 50% each of the field share" in said


@pytest.mark.parametrize(
    ("scope", "note", "router"),
    [
        ("all", "Router gave 50% on average · untouched", 50),
        ("early", "Router gave 70% on average in the early layers · untouched", 70),
        ("late", "Router gave 30% on average in the late layers · untouched", 30),
    ],
)
def test_a_note_is_of_the_layers_that_its_number_is_of(scope, note, router):
    task = shown(View.of(EVEN, Steering()), scope=scope)["targets"]["task"]
    assert (task["note"], round(task["router"])) == (note, router)
    steering = Steering((Override("task", State.FIXED, 0.9, "late"),))
    told = {
        s: shown(View.of(EVEN, steering), scope=s)["targets"]["task"] for s in ("early", "late")
    }
    assert "70% in force" not in told["early"]["note"] and "untouched" in told["early"]["note"]
    assert told["late"]["note"].endswith("in the late layers · 90% in force")
    assert round(told["late"]["force"]) == 90


@pytest.mark.parametrize(
    "overrides",
    [
        (Override("task", State.OFF),),
        (Override("task", State.OFF), Override("task/treat", State.FIXED, 0.8)),
        (Override("field", State.FIXED, 1.0),),
    ],
)
def test_an_expert_of_a_group_without_a_share_is_not_told_to_have_one(overrides):
    view = View.of(EVEN, Steering(overrides))
    assert text.share_notes(view)["task/treat"] == (
        "Router gave 80% on average · its group has no share in force"
    )
    assert "no share in force" not in text.share_notes(view)["task"]
    assert "no share in force" not in text.share_notes(view)["field/lung"]


@pytest.mark.parametrize(
    ("before", "what", "seconds", "said"),
    [
        (0, "answer", None, "yours is next."),
        (1, "answer", None, "1 answer is before yours."),
        (0, "answer", 3.2, "yours is next, in a few seconds."),
        (2, "measurement", 44, "2 measurements are before yours, in about 40 seconds."),
        (30, "answer", 200, "30 answers are before yours, in about 3 minutes."),
    ],
)
def test_who_waits_is_told_where_they_stand_and_how_long(before, what, seconds, said):
    assert waiting(before, what, seconds) == f"Waiting for a free place: {said}"


def test_a_group_that_takes_no_part_is_said_to():
    alone = plan([[1.0, 0.0]] * 4)
    view = View.of(alone, Steering())
    assert alone.absent == ("field",) and alone.team == ("task/treat", "task/warn")
    assert text.routing_line(view, {"field": "Field"}).endswith(
        "Field: takes no part · 2 of 5 experts take part"
    )
    said = text.reading(view)
    assert said.startswith("2 of 5 experts take part: treat and warn; none of field.")
    assert "field share" not in said
    assert text.share_notes(view)["field"] == (
        "Takes no part by the router; a share calls it in · untouched"
    )
    assert text.share_notes(view)["field/lung"] == (
        "Its group takes no part by the router; a share calls it in · untouched"
    )
    told = shown(view)["targets"]
    assert told["field/lung"]["router"] == told["field/lung"]["force"] == 0
    assert not told["field"]["asked"] and told["field/lung"]["asked"] and told["task"]["asked"]
    called = View.of(alone, Steering((Override("field/lung", State.FIXED, 1.0),)))
    assert text.share_notes(called)["field"].endswith("a share calls it in · 50% in force")
    assert "field/lung" in called.plan.team
    assert text.share_notes(called)["field/lung"] == (
        "Its group takes no part by the router; a share calls it in · 100% in force"
    )
    told = shown(called)["targets"]["field/lung"]
    assert (told["router"], told["force"]) == (0, 100)
    off = (Override("field", State.OFF), Override("field/lung", State.FIXED, 0.8))
    assert text.share_notes(View.of(alone, Steering(off)))["field/lung"] == (
        "Its group takes no part by the router · its group has no share in force"
    )
