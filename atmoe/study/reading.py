"""How hard a text is to read."""

import textstat

from atmoe.data.text import sentences, tidy


def grade(text: str) -> float:
    """Flesch–Kincaid grade: the US school year that can read the text (Kincaid et al. 1975)."""
    return textstat.flesch_kincaid_grade(text)


def whole_sentences(text: str) -> str:
    """A text without the sentence that the length limit cut off, unless it is the only one.

    Half a sentence reads too easily.
    """
    parts = sentences(tidy(text))
    if len(parts) > 1 and not parts[-1].rstrip("\"')]").endswith((".", "!", "?")):
        parts = parts[:-1]
    return " ".join(parts)
