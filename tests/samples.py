"""Explanations and training lines, made by hand."""

from dataclasses import replace

from conftest import LAYOUT, PROMPTS

from atmoe import Record, Sampling, Steering
from atmoe.data import Example
from atmoe.explanation.value import Explanation, Unit

ANSWER = "It is treated with the inhaler. The rest is told by the doctor (he knows). Ask!"
WORDS = {"define": "What is", "treat": "How is one treated who has", "warn": "Who should beware of"}
LINES = [
    {
        "prompt": f"{WORDS[task]} disease number {i}?",
        "answer": f"{task} answer {i} is this.",
        "labels": {"task": task, "field": "heart"} | ({"reader": reader} if reader else {}),
    }
    for i in range(60)
    for task, reader in [(("define", "treat", "warn")[i % 3], ("lay", "expert", None)[i % 5 % 3])]
]


def unit(name, weight, effect):
    kind = "expert" if "/" in name else "group"
    return Unit(name, kind, weight, 0.1, effect, (effect, effect))


def explanation(gained=1.0, **changed) -> Explanation:
    """Weights and effects that agree, but for what is changed: name → (weight, effect)."""
    values = {
        "task": (0.4, 0.3),
        "field": (0.3, 0.2),
        "reader": (0.3, 0.2),
        "task/define": (0.25, 0.3),
        "task/treat": (0.12, 0.1),
        "task/warn": (0.03, 0.0),
        "field/heart": (0.3, 0.2),
        "reader/lay": (0.2, 0.2),
        "reader/expert": (0.1, 0.1),
    }
    values |= {name.replace("_", "/"): pair for name, pair in changed.items()}
    return Explanation(
        LAYOUT,
        tuple(unit(n, *pair) for n, pair in values.items()),
        (),
        (),
        -1.0,
        -1.0 - gained,
        None,
        1.0,
        0.0,
    )


def unmixed(weighed=True) -> Explanation:
    """Of an answer at strength 0; not weighed: of one with all groups off."""
    found = explanation(gained=0.0)
    units = (
        replace(u, weight=u.weight * weighed, contribution=0.0, effect=0.0, token_effects=(0.0,))
        for u in found.units
    )
    return replace(found, units=tuple(units))


def record_of(model, plan=None, answer=ANSWER, prompt=PROMPTS[0], **fields) -> Record:
    """A record of an answer that somebody gave under a plan."""
    made = model.answer(prompt, Steering(), Sampling(max_new_tokens=2))
    plan = plan or made.router_plan
    return replace(
        made, answer=answer, answer_tokens=tuple(model.encode_answer(answer)), plan=plan, **fields
    )


def example(i: int, task: str, field: str | None = "heart") -> Example:
    labels = {"task": task, "reader": ("lay", "expert")[i % 2]} | (
        {"field": field} if field else {}
    )
    return Example(
        id=str(i),
        prompt=f"Question {'very ' * (i % 4)}number {i}?",
        answer=f"The {task} answer {i}, " * (1 + i % 3),
        labels=labels,
        disease=str(i),
        source="own",
        kind="own",
    )


EXAMPLES = [
    example(i, ("define", "treat")[i % 3 == 0], None if i == 4 else "heart") for i in range(9)
]
