"""The index of what the experts learned from: asked for what lies near a question.

    the question's words ─ Topics.cover ─────────────► cover   [rows]  ┐
    what the planner read ─ projection ─ cosine ─────► alike   [rows]  ├ weighted mean ─► similarity
    words, reading and what the planner asks for
                                ─ shares of labels ──► shared  [rows]  ┘
    what the planner read ─ projection ─ one linear ─► score ─ rank among unseen topics
                                                             ─► familiarity

The planner reads every prompt in any case, so none of it costs a pass. Beside the model lie

index/facts.json.gz              names and addresses (`atmoe.sources.facts`), and whose index it is
index/vectors.safetensors        a small vector an example, and all that a question is read by
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path

import torch
from safetensors.torch import load, save
from torch import Tensor

from atmoe import files
from atmoe.errors import AssetError
from atmoe.sources.facts import NONE, Facts
from atmoe.sources.value import Found, Source
from atmoe.sources.words import PIECES, Topics, pieces_of

FOLDER, FACTS, VECTORS = "index", "facts.json.gz", "vectors.safetensors"
NEAREST = 5
"""So many examples are given."""
MOST_BYTES = 6 * 2**20
"""An index takes no more, both files together."""
MOST_WIDTH = 1024
COVER, ALIKE = "cover", "alike"
"""Names of two of the parts of a similarity; the others are the groups' places."""
WEIGHTS: Mapping[str, float] = {COVER: 1.0, ALIKE: 0.5, "0": 1.5, "1": 1.0}
"""What each part counts: the words, the states, and the labels of the first and second group."""
PLANNER = 0.3
"""What the planner's own opinion of the labels counts, as a factor of its logarithm."""
SCALE = 127
"""A vector of length 1 is kept as whole numbers from -127 to 127."""


@dataclass(frozen=True, eq=False)
class Reading:
    """The tensors of an index.

    Attributes:
        vectors: [rows, narrow], int8, of length 1 when divided by SCALE; the question's is the
            first `narrow` numbers of its projection.
        layers: which of the layers that the planner reads are projected.
        centre: [layers · hidden], what is subtracted before.
        projection: [layers · hidden, width], to whitened principal components.
        by_state: [width + 1, experts], what the projection says of each label, a constant last.
        by_piece: [PIECES, experts], what each piece of a word says of each label, float16.
        familiar: [width + 1], a linear score of the projection, its constant last.
        unseen: [questions], the scores of questions about topics that were not trained on, in
            rising order; none = familiarity is not measured.
    """

    vectors: Tensor
    layers: Tensor
    centre: Tensor
    projection: Tensor
    by_state: Tensor
    by_piece: Tensor
    familiar: Tensor
    unseen: Tensor

    def project(self, first: Tensor) -> Tensor:
        """What the planner read, in few numbers.

        Args:
            first: [rows, depth, hidden].

        Returns:
            [rows, width]
        """
        read = first.float()[:, self.layers].flatten(1)
        return (read - self.centre) @ self.projection

    def score(self, first: Tensor) -> Tensor:
        """How much speaks for a question like those in training.

        Args:
            first: what the planner read, [rows, depth, hidden].

        Returns:
            [rows]; only their order means anything.
        """
        return self.project(first) @ self.familiar[:-1] + self.familiar[-1]

    def labels(self, question: str, small: Tensor) -> Tensor:
        """What words and states say of each expert's label, before the softmax of its group.

        Args:
            question: what a person typed.
            small: what the planner read of it, projected, [width].

        Returns:
            [experts]
        """
        logits = small @ self.by_state[:-1] + self.by_state[-1]
        pieces = pieces_of(question)
        if pieces:
            logits = logits + self.by_piece[pieces].float().sum(0) / len(pieces) ** 0.5
        return logits


@dataclass(frozen=True, eq=False)
class Index:
    """What is known of every training example, and how a question is held against it.

    Attributes:
        model: the sha256 of the model it belongs to (`Info.sha256`).
        facts: one row an example.
        tensors: how a question is read.
    """

    model: str
    facts: Facts
    tensors: Reading

    # -- what it says of a question -----------------------------------------------------------

    def found(self, question: str, first: Tensor, asked: Tensor) -> Found:
        """How familiar a question is, and the nearest examples.

        Args:
            question: what a person typed.
            first: what the planner read of it, [depth, hidden].
            asked: how much the planner asks for each expert, [experts].
        """
        return Found(self.familiarity(first), self.nearest(question, first, asked))

    def nearest(
        self, question: str, first: Tensor, asked: Tensor, expert: str | None = None
    ) -> tuple[Source, ...]:
        """The nearest training examples, at most one of the same topic, task and source.

        Args:
            question: what a person typed.
            first: what the planner read of it, [depth, hidden].
            asked: how much the planner asks for each expert, [experts].
            expert: only examples that are labelled with it, by its full name, `group/expert`.

        Returns:
            At most NEAREST, the nearest first.

        Raises:
            AssetError: no such expert.
        """
        similarity = self.similarity(question, first, asked)
        return tuple(
            self.source(row, float(similarity[row])) for row in self.rows(similarity, expert)
        )

    def similarity(
        self,
        question: str,
        first: Tensor,
        asked: Tensor,
        weights: Mapping[str, float] = WEIGHTS,
    ) -> Tensor:
        """How near each example is.

        Args:
            question: what a person typed.
            first: what the planner read of it, [depth, hidden].
            asked: how much the planner asks for each expert, [experts].
            weights: what each part counts; a part without a weight is left out.

        Returns:
            [rows], 0 to 1.
        """
        # Both are needed more than once.
        small = self.tensors.project(first[None])[0]
        opinion = self._opinion(question, small, asked)
        total = torch.zeros(len(self.facts))
        attainable = 0.0
        for name, weight in weights.items():
            part = self._part(name, question, small, opinion)
            if part is not None and weight:
                total += weight * part
                attainable += weight
        return (total / (attainable or 1.0)).clamp(0, 1)

    def _part(self, name: str, question: str, small: Tensor, opinion: Tensor) -> Tensor | None:
        """One part of the similarity [rows], 0 to 1; None where the model has no such group.

        A group of one tells no question from another: it is no part either.
        """
        if name == COVER:
            return self._topics.cover(question)[self._topic]
        if name == ALIKE:
            return self._alike(small)
        group = int(name)
        if group >= len(self.facts.groups) or len(self.facts.groups[group][1]) == 1:
            return None
        shares = opinion[self._members(group)].softmax(0)
        # An example without a label in the group shares none.
        return torch.cat([shares, torch.zeros(1)])[self._labels[group]]

    def _members(self, group: int) -> slice:
        """The experts of a group."""
        start = sum(len(experts) for _, experts in self.facts.groups[:group])
        return slice(start, start + len(self.facts.groups[group][1]))

    def _opinion(self, question: str, small: Tensor, asked: Tensor) -> Tensor:
        """How likely a question is for each expert, before the softmax of its group [experts]."""
        planner = asked.float().clamp(min=1e-5).log()
        return self.tensors.labels(question, small) + PLANNER * planner

    def _alike(self, small: Tensor) -> Tensor:
        """The cosine of each example's vector and the question's, 0 where it is below [rows]."""
        own = torch.nn.functional.normalize(small[: self.tensors.vectors.shape[1]], dim=0)
        return (self._unit @ own).clamp(0, 1)

    def rows(self, similarity: Tensor, expert: str | None = None, most: int = NEAREST) -> list[int]:
        """The nearest rows, at most one of the same topic, task and source.

        Args:
            similarity: [rows].
            expert: only rows that are labelled with it; None = all.
            most: how many.
        """
        if expert is not None:
            similarity = similarity.masked_fill(~self._of(expert), -1.0)
        nearest: dict[tuple, int] = {}
        for row in self._descending(similarity):
            if similarity[row] < 0:
                break
            nearest.setdefault(self._page(row), row)
            if len(nearest) == most:
                break
        return list(nearest.values())

    def _descending(self, similarity: Tensor) -> Iterator[int]:
        """Rows, the nearest first, of equally near ones the first: sorted only as far as needed."""
        count = min(16 * NEAREST, len(similarity))
        # Ties at the border of what was taken would come in any order, so all of them are taken.
        border = similarity.topk(count).values[-1]
        taken = (similarity >= border).nonzero()[:, 0]
        yield from taken[similarity[taken].argsort(descending=True, stable=True)].tolist()
        rest = (similarity < border).nonzero()[:, 0]
        yield from rest[similarity[rest].argsort(descending=True, stable=True)].tolist()

    def _page(self, row: int) -> tuple:
        """What two rows share that are the same to a reader."""
        facts = self.facts
        topic = facts.topic[row]
        address = None if facts.topics[topic] else facts.address[row]
        return topic, facts.labels[0][row], facts.source[row], address

    def _of(self, expert: str) -> Tensor:
        """Which rows are labelled with an expert [rows]."""
        name, _, own = expert.partition("/")
        for group, (group_name, experts) in enumerate(self.facts.groups):
            if group_name == name and own in experts:
                return self._labels[group] == experts.index(own)
        raise AssetError(f"The index has no expert {expert!r}; name one of the model's.")

    def source(self, row: int, similarity: float) -> Source:
        """One example, as it is shown."""
        facts = self.facts
        label = facts.labels[0][row]
        return Source(
            facts.sources[facts.source[row]],
            facts.topics[facts.topic[row]],
            "" if label == NONE else facts.groups[0][1][label],
            facts.addresses[facts.address[row]],
            round(similarity, 4),
        )

    def familiarity(self, first: Tensor) -> float | None:
        """The share of questions about unseen topics that score no higher than this one.

        Args:
            first: what the planner read of it, [depth, hidden].

        Returns:
            0 to 1; None where the index knows no question about an unseen topic, or what was read
            is not a number, which would rank above all.
        """
        own = self.tensors.score(first[None])
        if not len(self.tensors.unseen) or not own.isfinite():
            return None
        rank = torch.searchsorted(self.tensors.unseen, own, right=True)
        return float(rank) / len(self.tensors.unseen)

    # -- what is computed once ----------------------------------------------------------------

    def warm(self) -> None:
        """Compute that now, which the first question would wait for otherwise."""
        _ = self._topics, self._topic, self._labels, self._unit

    @cached_property
    def _topics(self) -> Topics:
        return Topics(self.facts.topics)

    @cached_property
    def _topic(self) -> Tensor:
        return torch.tensor(self.facts.topic)

    @cached_property
    def _labels(self) -> Tensor:
        """Places in each group's experts [groups, rows]."""
        return torch.tensor(self.facts.labels)

    @cached_property
    def _unit(self) -> Tensor:
        return self.tensors.vectors.float() / SCALE

    # -- to and from a directory --------------------------------------------------------------

    def save(self, folder: Path) -> None:
        """Write it.

        Args:
            folder: made where it is missing; an index that lies there is replaced.

        Raises:
            AssetError: it would take more than MOST_BYTES.
            OSError: it cannot be written.
        """
        tensors = {
            field.name: getattr(self.tensors, field.name).contiguous() for field in fields(Reading)
        }
        written = {FACTS: self.facts.to_bytes(self.model), VECTORS: save(tensors)}
        size = sum(map(len, written.values()))
        if size > MOST_BYTES:
            raise AssetError(
                f"The index would take {size:,} bytes of at most {MOST_BYTES:,}; make it of fewer "
                f"examples."
            )
        Path(folder).mkdir(parents=True, exist_ok=True)
        for name, data in written.items():
            files.replace(Path(folder) / name, data)

    @classmethod
    def load(cls, folder: Path, model: str, depth: int, hidden: int, groups: tuple) -> Index:
        """Read it, and check that it is this model's.

        Args:
            folder: where `save` wrote it.
            model: the sha256 of the model.
            depth: how many layers its planner reads.
            hidden: width of its hidden states.
            groups: of its layout.

        Raises:
            AssetError: a file is missing or broken, or it is another model's.
        """
        folder = Path(folder)
        try:
            size = sum((folder / name).stat().st_size for name in (FACTS, VECTORS))
            if size > MOST_BYTES:
                raise AssetError(
                    f"The index {folder} takes {size:,} bytes of at most {MOST_BYTES:,}; make it "
                    f"again with atmoe index."
                )
            packed, tensors = (folder / FACTS).read_bytes(), (folder / VECTORS).read_bytes()
        except OSError as error:
            raise AssetError(
                f"The index {folder} cannot be read ({error.strerror}); make it again with atmoe "
                f"index."
            ) from error
        facts, owner = Facts.from_bytes(packed, str(folder / FACTS))
        if owner != model or facts.groups != groups:
            raise AssetError(
                f"The index {folder} was made for another model ({owner[:12]}…, this one is "
                f"{model[:12] or 'not saved'}…); make it again with atmoe index."
            )
        experts = sum(len(names) for _, names in groups)
        reading = _reading(tensors, folder / VECTORS, (len(facts), depth, hidden, experts))
        return cls(model, facts, reading)


def _reading(data: bytes, file: Path, sizes: tuple[int, int, int, int]) -> Reading:
    """The tensors of a file, of the shapes that they must have.

    Args:
        data: of the file.
        file: for the message.
        sizes: rows, the planner's depth, hidden, experts.

    Raises:
        AssetError: they are not.
    """
    rows, depth, hidden, experts = sizes
    try:
        tensors = load(data)
        if tensors.keys() != {field.name for field in fields(Reading)}:
            raise ValueError("it does not hold what an index holds")
        width, narrow = tensors["projection"].shape[1], tensors["vectors"].shape[1]
        layers, questions = len(tensors["layers"]), len(tensors["unseen"])
        if not 0 < narrow <= width <= MOST_WIDTH:
            raise ValueError("its vectors are wider than its projection, or empty")
        wanted = {
            "vectors": ((rows, narrow), torch.int8),
            "layers": ((layers,), torch.int64),
            "centre": ((layers * hidden,), torch.float32),
            "projection": ((layers * hidden, width), torch.float32),
            "by_state": ((width + 1, experts), torch.float32),
            "by_piece": ((PIECES, experts), torch.float16),
            "familiar": ((width + 1,), torch.float32),
            "unseen": ((questions,), torch.float32),
        }
        for name, (shape, dtype) in wanted.items():
            tensor = tensors[name]
            if tensor.shape != shape or tensor.dtype != dtype:
                raise ValueError(f"{name} is {tuple(tensor.shape)} of {tensor.dtype}, not {shape}")
            if not torch.isfinite(tensor.float()).all():
                raise ValueError(f"{name} holds a number that is not finite")
        if not layers or not ((tensors["layers"] >= 0) & (tensors["layers"] < depth)).all():
            raise ValueError(f"its layers are not among the {depth} that the planner reads")
        if (tensors["unseen"].diff() < 0).any():
            raise ValueError("its scores are not in rising order")
    except Exception as error:  # safetensors and torch each raise their own
        raise AssetError(
            f"The index {file} cannot be used ({str(error).splitlines()[0][:200]}); make it again "
            f"with atmoe index."
        ) from error
    return Reading(**tensors)
