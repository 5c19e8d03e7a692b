"""Undo and redo over the last settings of the steering controls."""

from __future__ import annotations

from dataclasses import replace

from app.controls import Controls

LENGTH = 20
BURST_SECONDS = 0.8
"""Slider movements closer than this are one setting: a drag is undone in one step."""


class History:
    """What the controls were set to before, and what was undone."""

    def __init__(self) -> None:
        self._past: list[Controls] = []
        self._future: list[Controls] = []
        self._moved_at = float("-inf")

    def record(self, before: Controls, after: Controls, now: float) -> None:
        """Remember a change. Whatever was undone is then out of reach.  now: seconds of a steady clock"""
        if before == after:
            return
        if not (_only_slid(before, after) and self._past and not self._future and now - self._moved_at < BURST_SECONDS):
            self._past = [*self._past, before][-LENGTH:]
        self._future, self._moved_at = [], now

    def undo(self, current: Controls) -> Controls:
        """→ the setting before `current`, or `current` where there is none"""
        return self._swap(self._past, self._future, current)

    def redo(self, current: Controls) -> Controls:
        """→ the setting that was undone last, or `current` where there is none"""
        return self._swap(self._future, self._past, current)

    @property
    def can_undo(self) -> bool:
        return bool(self._past)

    @property
    def can_redo(self) -> bool:
        return bool(self._future)

    def _swap(self, source: list[Controls], target: list[Controls], current: Controls) -> Controls:
        self._moved_at = float("-inf")
        if not source:
            return current
        target.append(current)
        return source.pop()


def _only_slid(before: Controls, after: Controls) -> bool:
    """Whether two settings differ in their shares and strength alone."""
    still = lambda c: (replace(c, settings={}, strength=1.0), {t: (s.state, s.locked) for t, s in c.settings.items()})
    return still(before) == still(after)
