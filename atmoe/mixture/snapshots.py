"""Files of a repository on the hub: asked for once, in seconds, else out of the hub's own cache."""

import contextlib
import os
import re
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

import huggingface_hub
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

from atmoe.errors import BaseModelError
from atmoe.mixture.base_cache import reason

HUB_SECONDS = 3.0  # how long the hub may take to answer a first question


def is_hub_id(source: str | os.PathLike) -> bool:
    """Whether a source is written as the hub's names are: org/name, no path of this machine."""
    return re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", os.fspath(source)) is not None


def snapshot(
    repo: str,
    patterns: list[str],
    revision: str | None = None,
    instead: str = "use one that you already have",
) -> Path:
    """Files of a repository on the hub, or those in the hub's cache if it does not answer.

    Args:
        repo: its name, org/name.
        patterns: which files.
        revision: of which commit; None = the current one.
        instead: what a message offers to somebody without a connection.

    Raises:
        BaseModelError: the hub has it not, or cannot be asked.
    """
    try:
        ask(lambda: huggingface_hub.model_info(repo, revision=revision, timeout=HUB_SECONDS))
        return Path(
            huggingface_hub.snapshot_download(repo, revision=revision, allow_patterns=patterns)
        )
    except (RepositoryNotFoundError, GatedRepoError) as error:
        raise BaseModelError(
            f"The hub does not give out {repo} ({reason(error)}); check the spelling, or log in "
            f"with `hf auth login`."
        ) from error
    except Exception as error:
        with contextlib.suppress(Exception):
            return Path(
                huggingface_hub.snapshot_download(
                    repo, revision=revision, allow_patterns=patterns, local_files_only=True
                )
            )
        raise BaseModelError(
            f"There is no directory {repo} here and no such model can be fetched from the hub "
            f"({reason(error)}); connect to the internet, or {instead}."
        ) from error


def ask(question: Callable[[], object]) -> None:
    """Ask the hub whether it is there and has what is wanted.

    Raises:
        BaseModelError: the hub must not be asked.
        TimeoutError: no answer after `HUB_SECONDS`, even in a stuck name look-up.
        Exception: whatever the question raises.
    """
    if huggingface_hub.is_offline_mode():
        raise BaseModelError("HF_HUB_OFFLINE is set")
    answer: Future[object] = Future()

    def run() -> None:
        try:
            answer.set_result(question())
        except Exception as error:
            answer.set_exception(error)

    # Not an executor: its stuck thread would hold up the exit.
    threading.Thread(target=run, daemon=True).start()
    answer.result(timeout=HUB_SECONDS)
