"""One process from its first import to its last flush: how it ends, whatever stops it.

    a mistake of the user's           one sentence, status 2
    a full disk, a file's own error   one sentence that names the file, status 2
    Ctrl-C, SIGTERM                   "stopped", status 130 and 143; what was open is cleaned up
    a reader that went away           nothing, status 141

Nothing here takes time to import: a stop during the long imports must find this in place.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, NoReturn

from atmoe.errors import AtMoeError

MISTAKE, INTERRUPTED, NO_READER, TERMINATED = 2, 130, 141, 143
"""Exit statuses; from 128 up they say which signal it was, as a shell does."""
FULL = (errno.ENOSPC, errno.EDQUOT)


class Terminated(SystemExit):
    """SIGTERM came. An exit, so that whatever is open is closed on the way out."""


def run(program: str, main: Callable[[], int | None]) -> NoReturn:
    """Run a program to the end of its process.

    Args:
        program: what its sentences begin with.
        main: the program, its slow imports included; returns the exit status, None = 0.

    Raises:
        SystemExit: always.
    """
    stopped_by: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        stopped_by.append(number)
        if _importing(frame):
            # Raised in the midst of an extension's start, it may abort the process. Nothing is
            # open yet that the next start would not remove.
            _say(f"{program}: stopped")
            os._exit(128 + number)
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        raise Terminated(TERMINATED)

    def unraisable(error: Any) -> None:
        """Python drops what is raised in a destructor: stop again after it."""
        if isinstance(error.exc_value, (KeyboardInterrupt, Terminated)):
            main_thread = threading.main_thread().ident
            again = threading.Timer(0.05, signal.pthread_kill, [main_thread, stopped_by[-1]])
            again.daemon = True
            again.start()
        else:
            sys.__unraisablehook__(error)

    status: Any = None
    left_with = [1]  # as Python leaves where an error is nobody's
    # What is registered first is called last.
    atexit.register(lambda: _leave(left_with[0]))
    try:
        sys.unraisablehook = unraisable
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) is not signal.SIG_IGN:  # as a background job has it
                signal.signal(number, stop)
        with ending(program):
            status = main()
    except SystemExit as end:
        status = end.code
    except Exception:
        # A library may turn the interruption into an error of its own.
        if not stopped_by:
            raise
        status = 128 + stopped_by[-1]
        _say(f"{program}: stopped")
    # All is cleaned up: another stop has nothing left to do.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    try:
        with ending(program):
            flush()
    except SystemExit as end:
        status = status or end.code
    left_with[0] = status if isinstance(status, int) else int(status is not None)
    sys.exit(status)


def _leave(status: int) -> NoReturn:
    """End the process where Python would take itself down.

    Threads of a server or of torch go on meanwhile; one that comes out of native code then aborts
    the process ("terminate called without an active exception"), and its status with it.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(status)


def _importing(frame: FrameType | None) -> bool:
    """Whether a module is being imported where a signal came."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


@contextlib.contextmanager
def ending(program: str) -> Iterator[None]:
    """Turn what ends a program early into a sentence on standard error and a status.

    Args:
        program: what the sentence begins with.

    Raises:
        SystemExit: with the status of the table above.
    """
    try:
        yield
    except AtMoeError as error:
        _end(MISTAKE, f"{program}: {error}")
    except KeyboardInterrupt:
        _end(INTERRUPTED, f"{program}: stopped")
    except Terminated:
        _end(TERMINATED, f"{program}: stopped")
    except BrokenPipeError:
        _drop(sys.stdout)
        _end(NO_READER)
    except OSError as error:
        if error.errno is None:  # not the system's: a library's own, and so a fault of ours
            raise
        _end(MISTAKE, f"{program}: {sentence(error)}")


def sentence(error: OSError) -> str:
    """What to say of a file that cannot be read or written."""
    name = "A file" if error.filename is None else os.fsdecode(str(error.filename))
    reason = error.strerror or os.strerror(error.errno or 0)
    if error.errno in FULL:
        return f"{name} cannot be written, for the disk is full ({reason}); free some space."
    return f"{name} cannot be read or written ({reason}); check the path and its permissions."


def emit(text: str, end: str = "\n") -> None:
    """Print what a command has to say, to the last byte.

    Raises:
        OSError: standard output cannot be written; it is called that.
    """
    try:
        try:
            print(text, end=end)
        except UnicodeEncodeError:  # the output's own encoding has no such letter
            encoding = sys.stdout.encoding
            print(text.encode(encoding, "backslashreplace").decode(encoding), end=end)
    except OSError as error:
        _refused(error)
    flush()


def flush() -> None:
    """Write out what standard output still holds back.

    Raises:
        OSError: it cannot be written; it is called "Standard output".
    """
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        _refused(error)


def _refused(error: OSError) -> NoReturn:
    """Standard output takes no more: what it holds back must not be tried again at the exit."""
    _drop(sys.stdout)
    if isinstance(error, BrokenPipeError):
        raise error
    raise OSError(error.errno, error.strerror, "Standard output") from error


def _drop(stream: Any) -> None:
    """Let a stream of this process lead nowhere."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def _say(text: str) -> None:
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:  # nobody can be told, then
        _drop(sys.stderr)


def _end(status: int, text: str = "") -> NoReturn:
    if text:
        _say(text)
    raise SystemExit(status) from None
