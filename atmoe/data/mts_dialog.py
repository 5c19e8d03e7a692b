"""Reads MTS-Dialog: `Main-Dataset/*.csv`, dialogues with doctors and a section of each note."""

from __future__ import annotations

import csv
import re
from pathlib import Path

from atmoe.data.labels import specialty_of_text
from atmoe.data.schema import Example
from atmoe.data.text import count_words, cut_at_sentence, cut_at_turn, sentences, tidy
from atmoe.errors import DataError

LAYOUT = "Main-Dataset/*.csv with the columns ID, section_header, section_text, dialogue"
ADDRESS = "https://github.com/abachaa/MTS-Dialog"
"""A dialogue has no page of its own."""
DIALOGUE_WORDS = 200
STEM = 5
# Words of every note, said by nobody.
_NOT_SAID = {"patient", "denies", "denied", "reports", "states", "noted", "with", "that", "this"}
_DENIES = re.compile(r"\bden(?:y|ies|ied|ying)\b", re.IGNORECASE)
_COLUMNS = {"ID", "section_header", "section_text", "dialogue"}

# The corpus' section codes in words.
SECTIONS = {
    "FAM/SOCHX": "family and social history",
    "GENHX": "history of present illness",
    "PASTMEDICALHX": "past medical history",
    "CC": "chief complaint",
    "PASTSURGICAL": "past surgical history",
    "ALLERGY": "allergies",
    "ROS": "review of systems",
    "MEDICATIONS": "medications",
    "ASSESSMENT": "assessment",
    "EXAM": "physical examination",
    "DIAGNOSIS": "diagnosis",
    "DISPOSITION": "disposition",
    "PLAN": "plan",
    "EDCOURSE": "emergency department course",
    "IMMUNIZATIONS": "immunizations",
    "IMAGING": "imaging",
    "GYNHX": "gynecologic history",
    "PROCEDURES": "procedures",
    "OTHER_HISTORY": "other history",
    "LABS": "laboratory results",
}


def read(root: Path, answer_words: int) -> list[Example]:
    """Every dialogue with a written section, in the order of file and row."""
    files = sorted((root / "Main-Dataset").glob("*.csv"))
    tables = [(file, rows) for file in files if (rows := _rows(file)) is not None]
    if not tables:
        raise DataError(
            f"No MTS-Dialog in {root}: expected {LAYOUT}, as in github.com/abachaa/MTS-Dialog."
        )
    return [
        example
        for file, rows in tables
        for row in rows
        if (example := _example(file, row, answer_words)) is not None
    ]


def _rows(file: Path) -> list[dict[str, str]] | None:
    """The file's rows; None where it is a table of something else."""
    try:
        # utf-8-sig drops the byte-order mark; newline="" leaves line ends in fields to the reader.
        with file.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream, strict=True)
            if not set(reader.fieldnames or ()) >= _COLUMNS:
                return None
            return list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"Cannot read the MTS-Dialog file {file}: {error}.") from error


def _example(file: Path, row: dict[str, str], answer_words: int) -> Example | None:
    code = tidy(row["section_header"])
    dialogue = cut_at_turn(row["dialogue"] or "", DIALOGUE_WORDS)
    cut = count_words(dialogue) < count_words(row["dialogue"] or "")
    answer = _borne_out(row["section_text"] or "", dialogue, cut)
    if not dialogue or count_words(answer) < 3:
        return None
    section = SECTIONS.get(code.upper(), code.replace("_", " ").replace("/", " and ").lower())
    labels = {"task": "documentation", "audience": "professional"}
    specialty = specialty_of_text(f"{row['dialogue']} {answer}")
    if specialty:
        labels["specialty"] = specialty
    key = f"mts:{file.stem}:{tidy(row['ID'])}"
    return Example(
        id=key,
        prompt=f"Write the {section} section of the note from this dialogue:\n\n{dialogue}",
        answer=cut_at_sentence(answer, answer_words),
        labels=labels,
        disease=key,
        source="MTS-Dialog",
        kind=code,
        focus=section,
        material=dialogue,
        address=ADDRESS,
    )


def _borne_out(note: str, dialogue: str, cut: bool) -> str:
    """A note without the sentences that its dialogue does not bear out.

    Held against it are what a patient denies, and all of a note whose dialogue was cut: a third of
    a sentence's words that carry meaning must have been said, in whatever ending. A model that
    learns to write what nobody said ("denies any muscle pain") invents a patient.
    """
    said = {word[:STEM] for word in _words(dialogue)}
    lines = []
    for line in note.splitlines():
        sure = []
        for sentence in sentences(tidy(line)):
            words = {word[:STEM] for word in _words(sentence)}
            doubted = cut or _DENIES.search(sentence)
            if not doubted or len(words & said) * 3 >= len(words):
                sure.append(sentence)
        lines.append(" ".join(sure))
    return "\n".join(line for line in lines if line)


def _words(text: str) -> list[str]:
    return [word for word in re.findall(r"[a-z]{4,}", text.lower()) if word not in _NOT_SAID]
