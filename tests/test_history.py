"""Undo and redo over the last settings: a drag is one of them."""

from dataclasses import replace

from app.controls import Controls, Setting
from app.history import BURST_SECONDS, LENGTH, History
from atmoe import State


def fixed(percent: float, target: str = "task") -> Controls:
    return Controls({target: Setting(State.FIXED, percent)})


def walk(history: History, settings: list[Controls], seconds: float) -> Controls:
    for i, (before, after) in enumerate(zip(settings, settings[1:])):
        history.record(before, after, 100 + i * seconds)
    return settings[-1]


def test_each_setting_is_undone_and_redone_in_turn():
    history, settings = History(), [Controls(), fixed(50), fixed(60), Controls(strength=2)]
    current = walk(history, settings, 2 * BURST_SECONDS)
    for wanted in settings[-2::-1]:
        current = history.undo(current)
        assert current == wanted
    assert not history.can_undo and history.undo(current) == current
    for wanted in settings[1:]:
        current = history.redo(current)
        assert current == wanted
    assert not history.can_redo and history.redo(current) == current


def test_a_drag_is_one_setting_but_a_state_or_a_lock_within_it_is_another():
    history = History()
    settings = [Controls(), *(fixed(p) for p in range(50, 70)), Controls({"task": Setting(State.OFF, 69)}), fixed(69),
                Controls({"task": Setting(State.FIXED, 69, True)}), replace(fixed(69), on=False), replace(fixed(69), scope="late")]
    current = walk(history, settings, BURST_SECONDS / 2)
    for wanted in (*settings[-2:-7:-1], Controls()):
        current = history.undo(current)
        assert current == wanted
    assert not history.can_undo


def test_a_change_after_undo_forgets_what_was_undone_and_is_a_setting_of_its_own():
    history = History()
    current = history.undo(walk(history, [Controls(), fixed(50), fixed(60)], 2 * BURST_SECONDS))
    history.record(current, fixed(70), 100)
    assert not history.can_redo and history.undo(fixed(70)) == fixed(50)


def test_no_more_than_the_last_twenty_are_kept_and_nothing_new_is_no_setting():
    history = History()
    current = walk(history, [fixed(p) for p in range(50)], 2 * BURST_SECONDS)
    history.record(current, current, 1e6)
    undone = 0
    while history.can_undo:
        current, undone = history.undo(current), undone + 1
    assert undone == LENGTH == 20 and current == fixed(29)
