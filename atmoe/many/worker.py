"""What a worker of a cluster does: it holds one model, and makes of windows of rows what is asked.

It lives in a process of Ray's, which writes logs on its machine. So rows go in and come out as
values alone, and no error is left to Ray: it comes out as a value too.
"""

from __future__ import annotations

import hashlib
import json
import logging
import platform
import sys
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from atmoe import __version__
from atmoe.answer.sampling import Sampling
from atmoe.errors import AtMoeError
from atmoe.many.commands import steps_of
from atmoe.many.rows import Row
from atmoe.many.run import without_pauses
from atmoe.mixture import base as base_models
from atmoe.mixture.config import sha256_of
from atmoe.mixture.precision import chosen, computed_in
from atmoe.mixture.store import read_config
from atmoe.model import AtMoe
from atmoe.sources.index import FOLDER
from atmoe.steering.overrides import Steering


@dataclass(frozen=True)
class Work:
    """What is to be made of every row: a worker is told it once.

    Attributes:
        command: one that `steps_of` knows.
        model: the directory of the model, under the same absolute path on every machine.
        base: a path or hub id; None = the one that the model names.
        precision: one of `atmoe.mixture.precision.NAMES`.
        steering: of rows that bring none of their own.
        sampling: of answers.
        size: of a batch; None = what suits the command.
        content: what `content_of` says of the model where the run was started.
        computed: what `computed_in` says of the precision there.
        version: of atmoe there.
        whole: whether rows are to hold all of a value, and not the brief of it.
    """

    command: str
    model: Path
    base: str | None
    precision: str
    steering: Steering
    sampling: Sampling
    size: int | None
    content: str
    computed: str
    version: str = __version__
    whole: bool = False

    @classmethod
    def of(
        cls,
        command: str,
        model: Path,
        base: str | None = None,
        dtype: str = "float32",
        steering: Steering = Steering(),
        sampling: Sampling = Sampling(),
        size: int | None = None,
    ) -> Self:
        """Work as this machine understands it, so that every other understands it so.

        Args:
            command: one that `steps_of` knows.
            model: a directory.
            base: a path or hub id; None = what $ATMOE_BASE names here, else what the model names.
            dtype: one of `atmoe.mixture.precision.CHOICES`.
            steering: of rows that bring none of their own.
            sampling: of answers.
            size: of a batch; None = what suits the command.

        Raises:
            AssetError: the model is broken.
            AtMoeError: no precision has that name.
        """
        base = base_models.named(base)
        if base is not None and Path(base).exists():
            base = str(Path(base).absolute())
        model, precision = model.absolute(), chosen(dtype)
        content, computed = content_of(model), computed_in(precision)
        return cls(command, model, base, precision, steering, sampling, size, content, computed)


def content_of(model: Path) -> str:
    """A digest of all that rows depend on in a model's directory: the model, its index, its words.

    Raises:
        AssetError: the model is broken.
    """
    parts = [read_config(model)[0].sha256]
    for file in sorted((model / FOLDER).glob("*")):
        parts += [file.name, sha256_of(file)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def refusal(work: Work) -> str:
    """Why this machine would not make the same of a row; "" = it would."""
    here = platform.node()
    if __version__ != work.version:
        return f"{here} has atmoe {__version__}, not {work.version}; install that there."
    if not work.model.is_dir():
        return f"{here} has no {work.model}; copy the model to that path on every machine."
    try:
        same = content_of(work.model) == work.content
    except AtMoeError as error:
        return f"{here}: {error}"
    if not same:
        return f"{here} has another model or index in {work.model}; copy this machine's there."
    if computed_in(work.precision) != work.computed:
        return (
            f"{here} computes {work.precision} in other numbers than {work.computed}; pass --dtype "
            "float32 or bfloat16."
        )
    return ""


class _Kept(logging.Handler):
    """Keeps what atmoe warns of: nobody reads a worker's own log."""

    def __init__(self, sentences: list[str]):
        super().__init__(logging.WARNING)
        self.sentences = sentences

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it."""
        self.sentences.append(record.getMessage())


class Worker:
    """One model, loaded once, that takes windows of rows. It lives in a process of Ray's.

    Args:
        work: what is to be made of every row.
    """

    def __init__(self, work: Work):
        # the frames of Ray's below ours count too, and no row may nest too deep for them alone
        sys.setrecursionlimit(max(sys.getrecursionlimit(), 2000))
        self.work = work
        self.warnings: list[str] = []
        self.without: dict[str, Any] = {}  # what to say of every window where there is no model
        refused = refusal(work)  # machines may have joined since the others were asked
        if refused:
            self.without = {"refused": refused}
            return
        logging.getLogger("atmoe").addHandler(_Kept(self.warnings))
        try:
            self.model = AtMoe.from_pretrained(work.model, work.base, work.precision, device="cpu")
        except AtMoeError as error:
            self.without = {"refused": f"{platform.node()}: {error}"}
        except Exception:
            self.without = {"fault": traceback.format_exc()}

    def __call__(self, batch: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
        """What comes of windows.

        Args:
            batch: {"window": the rows of each as JSON}.

        Returns:
            {"window": for each, as JSON: {"rows": what `Written` holds of each} or the sentence
                "refused" or the traceback "fault"; with what it was warned of as "warnings"}.
        """
        return {"window": [json.dumps(self._window(text)) for text in batch["window"]]}

    def _window(self, text: str) -> dict[str, Any]:
        if self.without:
            return self.without
        work = self.work
        try:
            rows = [Row(**fields) for fields in json.loads(text)]
            steps = steps_of(
                work.command, self.model, rows, work.steering, work.sampling, work.size
            )
            done = [
                row.written(work.whole, self.model.info.language) for row in without_pauses(steps)
            ]
        except AtMoeError as error:
            return {"refused": str(error)}
        except Exception:
            return {"fault": traceback.format_exc()}
        return {"rows": done, "warnings": self.warnings}
