"""Examples that an index is made of, and a tiny model with it."""

from pathlib import Path

from atmoe import AtMoe
from atmoe.data import Example, split
from atmoe.sources.fitting import FitSettings, make_index
from atmoe.sources.outside import OURS, Lines

SETTINGS = FitSettings(width=20, narrow=12, least=4, steps=8)
LINES = Lines.load(OURS)
NAMES = ["Gout", "Cystic fibrosis", "Asthma", "Low back pain", "Sighing disease", "Glooma"]
ASKED = {
    "define": "Tell me what {} is, in a few words.",
    "treat": "Say how somebody with {} is helped.",
    "warn": "Say who should beware of {} and why.",
}


def example(i: int) -> Example:
    name, task = f"{NAMES[i % 6]} {i // 18}", list(ASKED)[i % 3]
    return Example(
        id=str(i),
        prompt=ASKED[task].format(name),
        answer=f"The answer to number {i} was written by nobody in particular.",
        labels={"task": task, "reader": ("lay", "expert")[i % 2], "field": "heart"},
        disease=name,
        source=("Leaflets", "Handbook")[i % 5 == 0],
        kind="information",
        focus=name,
        address=f"https://example.org/{i % 30}" if i % 7 else "",
    )


EXAMPLES = [example(i) for i in range(400)]
TRAINING = [e for e in EXAMPLES if split(e) == "train"]


def saved_with_index(worlds, home: Path) -> tuple[Path, list[str]]:
    """(directory, flags) of a tiny model with a planner, and its index beside it."""
    llama = worlds("llama")
    llama.planned().save_pretrained(home / "model")
    model = AtMoe.from_pretrained(home / "model", base=llama.directory)
    assert model.index is None
    make_index(model, EXAMPLES, SETTINGS, own_lines=LINES).save(home / "model" / "index")
    return home / "model", ["--model", str(home / "model"), "--base", str(llama.directory)]


def lines_of(examples) -> list[dict]:
    """The same as a JSONL source holds them."""
    return [
        {
            "prompt": e.prompt,
            "answer": e.answer,
            "labels": e.labels,
            "topic": e.disease,
            **({"address": e.address} if e.address else {}),
        }
        for e in examples
    ]
