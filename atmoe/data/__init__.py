"""Public medical corpora, read in their original layouts, as labelled instructions and answers.

    description --.examples()--> list[Example] --split()--> train | validation, by disease
                            |
                            +--paraphrase(), two_needs()--> the same needs as people put them

Each `Example` names the expert of every group that should serve it: the task by the kind of
question, the specialty by the disease, the audience by whom its source writes for. `terms.json`,
`templates.json` and `wordings.json` are data and hold every term and every wording; no text of a
corpus is kept here.
"""

from atmoe.data.description import MEDICAL, Description
from atmoe.data.examples import load
from atmoe.data.labels import GROUPS
from atmoe.data.schema import ANSWER_WORDS, Example, split
from atmoe.data.templates import paraphrase, reworded, two_needs

__all__ = [
    "ANSWER_WORDS",
    "GROUPS",
    "MEDICAL",
    "Description",
    "Example",
    "load",
    "paraphrase",
    "reworded",
    "split",
    "two_needs",
]
