"""Makes an index of the examples that experts learned from.

1. The planner reads every training example, some of them in other words too, questions about
   validation topics, and lines that are no question for the model.
2. What it read is reduced to whitened principal components; the first of them are the vectors.
3. One softmax regression a group learns labels from them and from pieces of words; one logistic
   regression tells training from the lines outside, where the model has lines of its own.
4. The scores of half of the validation topics' questions are what familiarity is a rank among; the
   other half is left to test it.
"""

from __future__ import annotations

import hashlib
import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize, softplus

from atmoe.data import Example, paraphrase, split
from atmoe.errors import DataError
from atmoe.mixture.mixture import Mixture
from atmoe.routing.layout import Layout
from atmoe.sources.facts import NONE, Facts, topic_of
from atmoe.sources.index import SCALE, Index, Reading
from atmoe.sources.outside import OURS, Lines, lines
from atmoe.sources.reading import read, readable
from atmoe.sources.value import FAR
from atmoe.sources.words import PIECES, pieces_of

Reader = Callable[[Mixture, Sequence[str], str], Tensor]
"""As `atmoe.sources.reading.read`."""


@dataclass(frozen=True)
class FitSettings:
    """How an index is made.

    Attributes:
        width: principal components that a question is read by.
        narrow: of them, those that an example's vector keeps.
        rephrased: training questions that are read in other words too.
        fitted: rows that the components are found on.
        piece_decay: of the labels' regression on pieces of words, a factor of the squares' sum.
        state_decay: the same on the components.
        familiar_decay: the same of the familiarity.
        least: with fewer questions to rank among, familiarity is not measured: the lowest place
            alone would be far, and one question in so many of those like training lies there.
        steps: of L-BFGS, at most.
        seed: of everything.
    """

    width: int = 300
    narrow: int = 128
    rephrased: int = 4000
    fitted: int = 4000
    piece_decay: float = 1e-5
    state_decay: float = 1e-2
    familiar_decay: float = 3e-2
    least: int = round(1 / FAR)
    steps: int = 60
    seed: int = 0


# The share of the logistic loss that each kind of training question has; lines outside have as
# much as all of them together.
_PLAIN, _REPHRASED, _PEOPLE = 0.36, 0.29, 0.35
AGREE = 0.9
"""A name tells a label where so many topics have one label alone."""


def calibrates(example: Example) -> bool:
    """Whether familiarity is calibrated on a validation topic, rather than tested."""
    return hashlib.sha256(f"half of {example.disease}".encode()).digest()[0] % 2 == 0


def tested(examples: Sequence[Example]) -> list[Example]:
    """Questions about the validation topics that familiarity was not calibrated on."""
    return [e for e in examples if split(e) != "train" and not calibrates(e) and not e.material]


def make_index(
    mixture: Mixture,
    examples: Sequence[Example],
    settings: FitSettings = FitSettings(),
    reader: Reader = read,
    own_lines: Lines | None = None,
) -> Index:
    """The index of a model's training examples.

    Args:
        mixture: a saved model, whose router has a planner.
        examples: of both sides of the split; only the training side gets into the index.
        settings: of the fit.
        reader: what reads prompts.
        own_lines: on both sides of what the model learned; None = familiarity is not measured.

    Raises:
        AssetError: the router has no planner.
        DataError: no training example can be read.
    """
    rng = random.Random(settings.seed)
    torch.manual_seed(settings.seed)
    # 1. what is read
    training = [e for e in examples if split(e) == "train"]
    plain = reader(mixture, [e.prompt for e in training], "training")
    training, plain = readable(training, plain)
    if not training:
        raise DataError("No training example can be read; check what the sources hold.")
    questions = [e for e in training if not e.material]
    chosen = rng.sample(questions, min(settings.rephrased, len(questions)))
    other = [paraphrase(e, rng) for e in chosen]
    other, rephrased = readable(other, reader(mixture, [e.prompt for e in other], "rephrased"))
    # Components want other lines beside training; without its own, the model reads ours for that.
    chosen_lines = own_lines or Lines({}, Lines.load(OURS).outside)
    own, apart = (
        _lines_read(mixture, [line for _, line in lines(side, "choose")], reader)
        for side in (chosen_lines.inside, chosen_lines.outside)
    )
    # 2. components
    all_read = torch.cat([plain, rephrased])
    layers = layers_of(plain.shape[1])
    centre, projection = components(torch.cat([all_read, own, apart]), layers, settings)

    def project(first: Tensor) -> Tensor:
        return (first[:, layers].flatten(1) - centre) @ projection

    vectors = normalize(project(plain)[:, : settings.narrow], dim=1)
    # 3. labels
    by_state, by_piece = fit_labels(
        mixture.layout, [*training, *other], project(all_read), settings
    )
    # 4. familiarity, and what it is a rank among
    familiar, score = torch.zeros(projection.shape[1] + 1), torch.zeros(0)
    unseen = unseen_questions([e for e in examples if split(e) != "train" and calibrates(e)], rng)
    if own_lines is not None and len(apart) and len(unseen) >= settings.least:
        inner = [(plain, _PLAIN), (rephrased, _REPHRASED), (own, _PEOPLE)]
        familiar = fit_familiar(
            [(project(rows), share) for rows, share in inner], project(apart), settings
        )
        score = project(_lines_read(mixture, unseen, reader)) @ familiar[:-1] + familiar[-1]
    return Index(
        mixture.info.sha256,
        Facts.of(training, mixture.layout.groups),
        Reading(
            vectors=(vectors * SCALE).round().to(torch.int8),
            layers=torch.tensor(layers),
            centre=centre,
            projection=projection,
            by_state=by_state,
            by_piece=by_piece.half(),
            familiar=familiar,
            unseen=score.sort().values,
        ),
    )


def unseen_questions(examples: Sequence[Example], rng: random.Random) -> list[str]:
    """Questions about topics that were not trained on: as they stand, and in unseen words.

    Each once: some corpora ask one twice, and where no wording fits, one has no other words.

    Args:
        examples: of the validation side; those with a text of their own are left out.
        rng: of the words.
    """
    questions = [e for e in examples if not e.material]
    rephrased = [paraphrase(e, rng, "evaluation").prompt for e in questions]
    return list(dict.fromkeys([*(e.prompt for e in questions), *rephrased]))


def layers_of(depth: int) -> list[int]:
    """Which of the layers that a planner reads are enough: of each third the last."""
    return sorted({-(-depth * third // 3) - 1 for third in (1, 2, 3)})


def _lines_read(mixture: Mixture, prompts: Sequence[str], reader: Reader) -> Tensor:
    return readable(prompts, reader(mixture, prompts, "other lines"))[1]


def components(
    states: Tensor, layers: Sequence[int], settings: FitSettings
) -> tuple[Tensor, Tensor]:
    """Whitened principal components of what the planner read.

    Args:
        states: [rows, depth, hidden].
        layers: those that are taken.
        settings: of the fit.

    Returns:
        The centre [layers · hidden], and the projection [layers · hidden, width].
    """
    take = torch.randperm(len(states))[: settings.fitted]
    read = states[take][:, list(layers)].flatten(1)
    centre = read.mean(0)
    # A few numbers of a hidden state are far larger than all others: each counts by its spread.
    spread = read.std(0).clamp(min=1e-3) if len(read) > 1 else torch.ones_like(centre)
    scaled = (read - centre) / spread
    width = min(settings.width, *scaled.shape)
    values, vectors = torch.linalg.eigh(scaled.T @ scaled / len(scaled))
    values, vectors = values.flip(0)[:width].clamp(min=1e-6), vectors.flip(1)[:, :width]
    return centre, (vectors / values.sqrt() / spread[:, None]).contiguous()


def fit_labels(
    layout: Layout, examples: Sequence[Example], small: Tensor, settings: FitSettings
) -> tuple[Tensor, Tensor]:
    """Softmax regressions, one a group: of labels on components and on pieces of words.

    Names of topics are read beside the questions, by their pieces alone.

    Args:
        layout: whose labels these are.
        examples: with labels.
        small: their components, [examples, width].
        settings: of the fit.

    Returns:
        [width + 1, experts], a constant last, and [PIECES, experts].
    """
    named = list({topic_of(e): e for e in examples if topic_of(e) and not e.material}.values())
    texts = [*(e.prompt for e in examples), *map(topic_of, named)]
    labelled = [*examples, *named]
    pieces = _pieces(texts)
    known = torch.cat([small, torch.zeros(len(named), small.shape[1])])
    known = torch.cat([known, torch.ones(len(known), 1)], 1)
    targets, counted = _targets(layout, labelled, len(named))
    by_state = torch.zeros(known.shape[1], len(layout.expert_names), requires_grad=True)
    by_piece = torch.zeros(PIECES, len(layout.expert_names), requires_grad=True)

    def loss() -> Tensor:
        logits = known @ by_state + torch.sparse.mm(pieces, by_piece)
        decay = settings.piece_decay * by_piece.square().sum()
        total = decay + settings.state_decay * by_state[:-1].square().sum()
        for g, group in enumerate(layout.group_names):
            each = cross_entropy(logits[:, layout.members(group)], targets[g], reduction="none")
            total = total + (each * counted[g]).sum() / counted[g].sum().clamp(min=1)
        return total

    minimise(loss, [by_state, by_piece], settings.steps)
    return by_state.detach(), by_piece.detach()


def _pieces(texts: Sequence[str]) -> Tensor:
    """Which pieces each text has, each row of length 1: [texts, PIECES], sparse."""
    found = [pieces_of(text) for text in texts]
    rows = [i for i, pieces in enumerate(found) for _ in pieces]
    columns = [piece for pieces in found for piece in pieces]
    values = [len(pieces) ** -0.5 for pieces in found for _ in pieces]
    return torch.sparse_coo_tensor(
        torch.tensor([rows, columns]),
        torch.tensor(values),
        (len(texts), PIECES),
        check_invariants=True,
    ).coalesce()


def _targets(layout: Layout, examples: Sequence[Example], names: int) -> tuple[Tensor, Tensor]:
    """Each example's label in each group.

    Args:
        layout: whose groups these are.
        examples: the last `names` of them stand for names of topics alone. A name tells a label in
            those groups in which a topic's examples agree (what a disease is, not what is asked).
        names: how many.

    Returns:
        Places in the group [groups, examples], and 1 where the label counts, else 0.
    """
    facts = Facts.of(examples, layout.groups)
    places = torch.tensor(facts.labels)
    counted = (places != NONE).float()
    for g, labels in enumerate(facts.labels):
        by_topic: dict[int, list[int]] = defaultdict(list)
        for topic, label in zip(facts.topic, labels[: len(labels) - names]):
            if label != NONE:
                by_topic[topic].append(label)
        several = [found for found in by_topic.values() if len(found) > 1]
        agree = sum(len(set(found)) == 1 for found in several)
        if agree < AGREE * len(several) or not several:
            counted[g, len(examples) - names :] = 0
    return places.clamp(min=0), counted


def fit_familiar(
    inner: Sequence[tuple[Tensor, float]], apart: Tensor, settings: FitSettings
) -> Tensor:
    """A logistic regression that tells training questions from lines outside.

    Args:
        inner: components [rows, width] of each kind of training question, and its share.
        apart: components of lines outside.
        settings: of the fit.

    Returns:
        [width + 1], the constant last; larger = more like training.
    """
    weight = torch.zeros(apart.shape[1] + 1, requires_grad=True)

    def loss() -> Tensor:
        total = settings.familiar_decay * weight[:-1].square().sum()
        for rows, share in inner:
            if len(rows):
                total = total + share * softplus(-(rows @ weight[:-1] + weight[-1])).mean()
        return total + softplus(apart @ weight[:-1] + weight[-1]).mean()

    minimise(loss, [weight], settings.steps)
    return weight.detach()


def minimise(loss: Callable[[], Tensor], parameters: Sequence[Tensor], steps: int) -> None:
    """L-BFGS, from where the parameters stand, in so many steps at most."""
    optimiser = torch.optim.LBFGS(list(parameters), max_iter=steps, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        total = loss()
        total.backward()
        return total

    optimiser.step(closure)
