"""Files that appear whole or not at all, and directories that one process writes in.

A process may be killed between any two writes, and a disk may be full. So what is written is first
written beside its place, brought to the disk, and then renamed. A directory that is filled for long
is locked by the process that fills it (flock, on the directory itself). The system drops that lock
when the process ends, however it ends: where the lock can be taken, nobody writes any more.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from atmoe.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

try:
    import fcntl
except ImportError:  # Windows: there nobody is locked out, and age alone says what is left behind
    fcntl = None  # type: ignore[assignment]  # a module elsewhere

STALE_SECONDS = 24 * 3600
"""Where a file system knows no locks, after this long a directory is nobody's."""


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Name the file in any error of writing it.

    Python gives a full disk's error no file name, and safetensors gives one of its own type.

    Raises:
        OSError: with the file's name.
    """
    try:
        yield
    except OSError as error:
        if error.errno is None or error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error
    except Exception as error:
        number = re.search(r"\(os error (\d+)\)", str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from error


def replace(path: Path, data: bytes) -> None:
    """Write a file in one stroke: an interruption leaves the one before.

    Raises:
        OSError: it cannot be written; the one before is left.
    """
    beside = path.with_name(path.name + ".tmp")
    try:
        with writing(path), beside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
    sync(path.parent)


def write_tensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Write tensors as safetensors, for whom the umask lets read: its own writer says 0600.

    Raises:
        OSError: with the file's name.
    """
    from safetensors.torch import save  # here, for not all who write files have torch loaded

    with writing(path):
        path.write_bytes(save(dict(tensors), None if metadata is None else dict(metadata)))


def sync(path: Path) -> None:
    """Bring a file, or the names in a directory, to the disk."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    except OSError:
        if not path.is_dir():  # some file systems cannot do this to a directory
            raise
    finally:
        os.close(opened)


@contextlib.contextmanager
def locked(directory: Path, shared: bool = False) -> Iterator[None]:
    """Wait until no other process holds this directory, and hold it.

    Args:
        directory: not there, or on a file system without locks, nothing is held.
        shared: others may hold it shared at the same time.
    """
    lock = _lock(directory, shared=shared)
    try:
        yield
    finally:
        if lock is not None:
            os.close(lock)


def hold(file: IO[bytes]) -> bool:
    """Whether nobody else holds an open file; then it is held until it is closed."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


@contextlib.contextmanager
def room(parent: Path, prefix: str) -> Iterator[Path]:
    """A new directory to write in, locked for as long as it is written in.

    Args:
        parent: where it is made, so that renaming out of it is atomic.
        prefix: what its name begins with.

    Yields:
        The directory. It is the caller's to delete; `abandoned` gives it out once this has ended.
    """
    with locked(parent):  # nobody may find it before it is locked
        directory = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        lock = _lock(directory)
    try:
        yield directory
    finally:
        if lock is not None:
            os.close(lock)


def must_be_new(path: Path) -> None:
    """Raises: DataError, where something lies there already, or there is no folder for it."""
    if path.exists():
        raise DataError(f"{path} is there already; delete it, or name another --out.")
    must_have_folder(path)


def must_have_folder(path: Path, named: str = "--out") -> None:
    """Raises: DataError, where the folder that this is to lie in is not there."""
    if not path.parent.is_dir():
        raise DataError(f"There is no folder {path.parent}; make it, or name another {named}.")


def must_be_folder(path: Path) -> None:
    """Raises: DataError, where a folder that is made if it is missing cannot be one."""
    there = next(place for place in (path, *path.parents) if place.exists())
    if not there.is_dir():
        whose = "" if there == path else f", and {path} cannot lie in it"
        raise DataError(f"{there} is a file and no folder{whose}; name another --out.")


@contextlib.contextmanager
def appearing(path: Path) -> Iterator[Path]:
    """A place for a new file or directory, which gets its name once it is whole.

    Args:
        path: its name.

    Yields:
        Where to write it.

    Raises:
        OSError: it cannot be written; then nothing of it is left.
    """
    with writing(path), room(path.parent, f".{path.name}-") as beside:
        try:
            yield beside / path.name
            sync(beside / path.name)
            os.rename(beside / path.name, path)
            sync(path.parent)
        finally:
            shutil.rmtree(beside, ignore_errors=True)


def abandoned(parent: Path, prefix: str) -> Iterator[Path]:
    """The directories of `room` in which nobody writes any more.

    Yields:
        One after the other, each locked until the next is asked for.
    """
    if not any(parent.glob(prefix + "*")):
        return
    with locked(parent):
        for directory in sorted(parent.glob(prefix + "*")):
            try:
                lock = _lock(directory, wait=False)
                if lock is None and time.time() - directory.stat().st_mtime < STALE_SECONDS:
                    continue
            except OSError:  # somebody writes in it, or has just removed it
                continue
            try:
                yield directory
            finally:
                if lock is not None:
                    os.close(lock)


def _lock(directory: Path, shared: bool = False, wait: bool = True) -> int | None:
    """An open directory with the lock on it; None where there is none to be had.

    Raises:
        BlockingIOError: somebody else has it, and `wait` is false.
    """
    try:
        opened = os.open(directory, os.O_RDONLY)
    except OSError:
        return None
    try:
        if fcntl is not None:
            kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
            fcntl.flock(opened, kind if wait else kind | fcntl.LOCK_NB)
            return opened
    except BlockingIOError:
        os.close(opened)
        raise
    except OSError:  # a file system without locks
        pass
    except BaseException:
        os.close(opened)
        raise
    os.close(opened)
    return None


def finite(value: Any) -> Any:
    """The same, with null for every number that JSON has no word for."""
    if isinstance(value, Mapping):
        return {key: finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
