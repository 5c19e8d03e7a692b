"""How hard a text is to read."""

import textstat

from atmoe.data.text import sentences, tidy


def grade(text: str) -> float:
    """Flesch–Kincaid grade: the US school year that can read the text (Kincaid et al. 1975)."""
    return textstat.flesch_kincaid_grade(text)


def whole_sentences(text: str) -> str:
    """Without the sentence that the length limit cut off, unless it is the only one: half a sentence reads too easily."""
    found = sentences(tidy(text))
    return " ".join(
        found[:-1]
        if len(found) > 1 and not found[-1].rstrip("\"')]").endswith((".", "!", "?"))
        else found
    )
