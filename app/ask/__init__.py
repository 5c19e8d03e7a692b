"""Asking: the question box, the settings, and the two answers."""
