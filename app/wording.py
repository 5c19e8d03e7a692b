"""What the two answers are called."""

from __future__ import annotations

FIRST, SECOND = "Router's answer", "Your answer"
"""The two answers, where one of them is chosen."""
