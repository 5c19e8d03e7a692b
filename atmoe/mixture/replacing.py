"""A saved AT-MoE is replaced at once, for its files must agree.

1. the new files are written into .saving-…/, a directory in the model's own, locked by its writer;
2. atmoe.json is renamed over the old one: from here on the new model is the one that is saved;
3. the files that it names follow, and .saving-… is removed.

Whoever is killed before 2 leaves the old model whole. After 2, the next load or save finds a
.saving-… whose lock is free, and carries 3 out: a file there is part of the model where its hash is
the one that atmoe.json names, and is waste otherwise. So a model can be loaded after every instant.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from atmoe import files
from atmoe.errors import AssetError
from atmoe.mixture.config import CONFIG, Info, check, fitting, parsed, sha256_of, write_config
from atmoe.routing.layout import Layout

SAVING = ".saving-"


@contextlib.contextmanager
def replacing(path: Path, layout: Layout, info: Info) -> Iterator[Path]:
    """Replace files of a saved AT-MoE, all at once.

    Args:
        path: its directory, made where it is missing.
        layout: of the new model.
        info: names and limits of the new model.

    Yields:
        A directory, to write the new files into, under the names that they have in `path`. What is
        not written there stays as it is.

    Raises:
        AssetError: the model says something of groups that it has not; nothing is written.
        OSError: something cannot be written; the model that lay there is left, whole.
    """
    fitting(info, layout)
    path.mkdir(parents=True, exist_ok=True)
    _settle(path)
    with files.room(path, SAVING) as room:
        # 1. the new model, whole and on the disk
        try:
            yield room
            write_config(room / CONFIG, [room, path], layout, info)
            for part in sorted(room.rglob("*")):
                files.sync(part)
            files.sync(room)
        except BaseException as error:
            shutil.rmtree(room, ignore_errors=True)
            if isinstance(error, OSError) and error.filename is not None:
                # by the name that it would have had: the room is gone
                error.filename = str(error.filename).replace(str(room), str(path))
            raise
        # 2. from the first line on it is the one that is saved; a kill after it is made good by
        #    `_settle`, and so is an error
        with files.locked(path):
            os.replace(room / CONFIG, path / CONFIG)
            files.sync(path)
            _put(room, path)
        shutil.rmtree(room, ignore_errors=True)


def _put(room: Path, path: Path, only: Mapping[str, str] | None = None) -> None:
    """Move files to their places.

    Args:
        room: where they lie.
        path: the model's directory.
        only: those of these hashes, by name (default: all).
    """
    for file in sorted(p for p in room.rglob("*") if p.is_file()):
        name = file.relative_to(room)
        if only is None or only.get(name.as_posix()) == sha256_of(file):
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            os.replace(file, path / name)
            files.sync((path / name).parent)


def _settle(path: Path) -> None:
    """Bring to an end what a save has left that was killed; nothing where none was.

    Where nothing may be written (a model on a read-only disk), it is left as it is.
    """
    for room in files.abandoned(path, SAVING):
        hashes: dict[str, str] = {}
        with contextlib.suppress(AssetError):
            hashes = parsed(path / CONFIG)[2]
        with contextlib.suppress(OSError):
            _put(room, path, hashes)
            shutil.rmtree(room)


def read_config(path: str | Path) -> tuple[Info, Layout]:
    """What a saved AT-MoE says of itself, its files checked.

    Raises:
        AssetError: a file is missing, corrupt or unreadable; the sentence names it.
    """
    path = Path(path)
    try:
        _settle(path)
        with files.locked(path, shared=True):  # no save may come between two of these files
            info, layout, hashes = parsed(path / CONFIG)
            for name, sha256 in hashes.items():
                check(path / name, sha256)
    except OSError as error:
        raise AssetError(
            f"{error.filename or path} cannot be read ({error.strerror}); check its permissions."
        ) from error
    return info, layout


def experts_digest(path: Path) -> str:
    """One hash for all experts saved in `path`: what a router is trained on."""
    hashes = parsed(path / CONFIG)[2]
    digests = [hashes[name] for name in sorted(hashes) if name.startswith("experts/")]
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def refuse_other_experts(path: Path, digest: str) -> None:
    """Nothing, where the experts saved in `path` are still those of this `experts_digest`.

    Raises:
        AssetError: they were replaced while something was made that is to go with them.
    """
    if experts_digest(path) != digest:
        raise AssetError(
            f"The experts in {path} were replaced while this ran, and what it made is not theirs; "
            f"nothing was saved there: run it again."
        )
