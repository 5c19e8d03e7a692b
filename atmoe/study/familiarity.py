"""Whether familiarity tells questions like those in training from lines that are none.

Flagged is what `Found.far` says: a low rank, and no example very near. Asked are questions about
diseases of training; about the validation diseases that familiarity was not calibrated on, as they
stand and in words that training never used; and the lines that the description names
(`atmoe.sources.outside`), of which those are asked that were kept back when it was made.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from atmoe.data import Example, reworded, split
from atmoe.errors import AssetError, DataError
from atmoe.model import AtMoe
from atmoe.sources.fitting import tested
from atmoe.sources.index import Index
from atmoe.sources.outside import BESIDE, Lines, lines
from atmoe.sources.reading import read, readable
from atmoe.sources.value import EDGE, FAR
from atmoe.study.bootstrap import DRAWS, interval, rate


def study(
    model: AtMoe,
    examples: Sequence[Example],
    own_lines: Lines | None,
    count: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """How well familiarity tells what is like training from what is not.

    Args:
        model: with its index.
        examples: of both sides of the split.
        own_lines: those that familiarity was fitted with, and others kept back.
        count: questions about unseen diseases at most, each asked in two wordings.
        seed: of what is drawn.

    Returns:
        "threshold", "edge": of the three sentences.
        "flagged": kind → {"mean", "interval", "questions", "refused"}: "diseases of training",
            "unseen diseases" and "unseen diseases, rephrased" (of those that a wording of ours
            fits; left out where none does); each kind of lines outside and
            "outside, all" (of the kinds that must be flagged); "people" and "shorthand". Refused is
            what the model does not read at all (no letters, another script); it counts in no mean.
        "auroc": of unseen diseases' questions, both wordings, against "outside, all": {"mean",
            "interval"}.
        "calibration": how many questions familiarity is a rank among.

    Raises:
        AssetError: the model has no index.
        DataError: there are no questions about unseen diseases, or no lines.
    """
    index = model.index
    if index is None or not len(index.tensors.unseen):
        raise AssetError(
            "This model has no index that measures familiarity; make one with atmoe index, of a "
            "description that names lines (familiarity) and examples with a validation side."
        )
    if own_lines is None:
        raise DataError(
            "The description names no lines that are no question for this model; name those that "
            "the index was made with (familiarity)."
        )
    began = time.perf_counter()
    rng = random.Random(seed)
    unseen = tested(examples)
    unseen = rng.sample(unseen, min(count, len(unseen)))
    if not unseen:
        raise DataError("There is no question about an unseen topic; name more data.")
    plain = _Scored.of(model, index, unseen)
    others = reworded(unseen, rng, "evaluation")
    other = _Scored.of(model, index, others) if others else None
    apart: dict[str, list[str]] = {}
    for kind, line in [*lines(own_lines.outside, "kept"), *lines(own_lines.inside, "kept")]:
        apart.setdefault(kind, []).append(line)
    scored = {kind: _Scored(model, index, own, own) for kind, own in apart.items()}
    # As those about unseen diseases: a text that a question comes with tells a reader much.
    learned = [e for e in examples if e.disease and split(e) == "train" and not e.material]
    learned = rng.sample(learned, min(count, len(learned)))
    known = _Scored.of(model, index, learned)
    flagged = {
        "diseases of training": known.flagged(seed),
        "unseen diseases": plain.flagged(seed),
        **({"unseen diseases, rephrased": other.flagged(seed)} if other else {}),
        **{kind: part.flagged(seed) for kind, part in scored.items()},
    }
    core = _Scored.together([scored[kind] for kind in own_lines.outside if kind != BESIDE])
    flagged["outside, all"] = core.flagged(seed)
    clean = _Scored.together([plain, other] if other else [plain])
    if not len(clean.scores) or not len(core.scores):
        raise DataError(
            "The model reads none of the questions, or none of the lines outside; name others."
        )
    return {
        "threshold": FAR,
        "edge": EDGE,
        "flagged": flagged,
        "auroc": auroc_interval(clean.scores, clean.names, core.scores, seed),
        "calibration": len(index.tensors.unseen),
        "seconds": round(time.perf_counter() - began, 1),
    }


class _Scored:
    """Prompts, each with its score.

    Attributes:
        scores: [prompts that were read].
        far: whether they are flagged.
        names: of what the bootstrap draws whole.
        refused: how many the model does not read.
    """

    def __init__(self, model: AtMoe, index: Index, prompts: Sequence[str], names: Sequence[str]):
        first = read(model, prompts, "familiarity")
        prompts, _ = readable(prompts, first)
        self.names, first = readable(names, first)
        self.refused = len(names) - len(self.names)
        self.scores = index.tensors.score(first)
        found = [model.found_by(prompt, each) for prompt, each in zip(prompts, first)]
        self.far = [each is not None and each.far for each in found]

    @classmethod
    def of(cls, model: AtMoe, index: Index, examples: Sequence[Example]) -> _Scored:
        return cls(model, index, [e.prompt for e in examples], [e.disease for e in examples])

    @classmethod
    def together(cls, parts: Sequence[_Scored]) -> _Scored:
        whole = cls.__new__(cls)
        whole.refused = sum(part.refused for part in parts)
        whole.names = [name for part in parts for name in part.names]
        whole.scores = torch.cat([part.scores for part in parts])
        whole.far = [far for part in parts for far in part.far]
        return whole

    def flagged(self, seed: int) -> dict[str, Any]:
        """How many are told to be unlike anything in training."""
        values = [float(far) for far in self.far]
        return {**rate(values, self.names, seed), "refused": self.refused}


def auroc(inner: Tensor, apart: Tensor) -> float:
    """The chance that one of the first scores more than one of the second, ties counting half.

    Args:
        inner: [n]
        apart: [m]
    """
    ordered = apart.sort().values
    below = torch.searchsorted(ordered, inner, right=False)
    up_to = torch.searchsorted(ordered, inner, right=True)
    return float((below + up_to).double().mean() / (2 * len(apart)))


def auroc_interval(
    inner: Tensor, names: Sequence[str], apart: Tensor, seed: int = 0
) -> dict[str, Any]:
    """`auroc`, with whole diseases and single lines drawn.

    Args:
        inner: scores of questions, [n].
        names: what each is about.
        apart: scores of lines outside, [m].
        seed: of the draws.

    Returns:
        {"mean", "interval"}; the interval is None of one disease or one line, for every draw of it
        is the same.
    """
    by_name: dict[str, list[int]] = {}
    for i, name in enumerate(names):
        by_name.setdefault(name, []).append(i)
    groups = list(by_name.values())
    if len(groups) < 2 or len(apart) < 2:
        return {"mean": auroc(inner, apart), "interval": None}
    generator = torch.Generator().manual_seed(seed)
    values = []
    for _ in range(DRAWS):
        picked = torch.randint(len(groups), (len(groups),), generator=generator)
        rows = [i for g in picked.tolist() for i in groups[g]]
        others = torch.randint(len(apart), (len(apart),), generator=generator)
        values.append(auroc(inner[rows], apart[others]))
    drawn = torch.tensor(values, dtype=torch.float64)
    return {"mean": auroc(inner, apart), "interval": interval(drawn)}
