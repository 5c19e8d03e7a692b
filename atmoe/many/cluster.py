"""Rows on many machines: Ray gives them out by windows, and each of its workers holds one model.

    rows ─ windows, as one process has them ─► workers, one model each ─► in the rows' order

A window is one worker's whole, so that each row has the neighbours that it has in one process, and
comes out the same. A worker that dies is started again, and what it held is given out again.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import socket
import threading
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from atmoe.errors import ClusterError
from atmoe.many.commands import windows
from atmoe.many.rows import Row
from atmoe.many.run import Written
from atmoe.many.worker import Work, Worker, refusal

log = logging.getLogger(__name__)

AUTO, LOCAL = "auto", "local"
"""The cluster that runs here, or else one started for this run; and one started in any case."""
SECONDS = 10
"""So long a cluster has to answer."""
TRIES_AGAIN = 3
"""So often a window is given out again when its worker died: it may be what kills it."""


@dataclass(frozen=True)
class Cluster:
    """Workers that can be had, for one kind of work.

    Attributes:
        ray: the library, connected.
        work: what is to be made of every row.
        workers: how many.
        threads: of each.
    """

    ray: Any
    work: Work
    workers: int
    threads: int

    def worked(self, rows: Iterable[Row], whole: bool = False) -> Iterator[Written]:
        """Rows, worked on; they come out as one process would write them.

        All rows are held in the cluster's memory at once, what comes of them is not.

        Args:
            rows: in the order in which they come out.
            whole: whether they are to hold all of a value, and not the brief of it.

        Raises:
            ClusterError: a machine lacks something, or a window killed its workers.
        """
        items = []
        for window in windows(self.work.command, rows, self.work.size):
            items.append({"window": json.dumps([vars(row) for row in window])})
        told: set[str] = set()
        try:
            for item in self._dataset(items, replace(self.work, whole=whole)).iter_rows():
                yield from _read(json.loads(item["window"]), told)
        except self.ray.exceptions.RayError as error:
            raise ClusterError(
                f"The cluster gave up on a window of rows ({type(error).__name__}): its worker "
                f"died {TRIES_AGAIN + 1} times, or the cluster went away; see whether memory is "
                "short, or pass a smaller --batch. Started again, the run goes on there."
            ) from error

    def _dataset(self, items: Sequence[Mapping[str, str]], work: Work) -> Any:
        """What is to be computed, as Ray Data has it."""
        data = self.ray.data
        context = data.DataContext.get_current()
        context.execution_options.preserve_order = True
        context.enable_progress_bars = context.print_on_execution_start = False
        context.execution_no_progress_timeout_s = -1  # a window may take hours
        context.max_consecutive_actor_init_deaths = TRIES_AGAIN
        # a window is given to who is free, and none waits behind another
        pool = data.ActorPoolStrategy(
            size=min(self.workers, len(items)) or 1, max_tasks_in_flight_per_actor=1
        )
        with warnings.catch_warnings():
            # of max_task_retries, which this version of Ray Data takes in no other way
            warnings.simplefilter("ignore", self.ray.util.annotations.RayDeprecationWarning)
            return data.from_items(items, override_num_blocks=max(len(items), 1)).map_batches(
                Worker,
                fn_constructor_args=(work,),
                batch_size=1,
                compute=pool,
                num_cpus=self.threads,
                max_task_retries=TRIES_AGAIN,
            )


@contextlib.contextmanager
def joined(work: Work, address: str = AUTO, workers: int | None = None) -> Iterator[Cluster]:
    """A cluster, each of whose machines was found fit for some work.

    Args:
        work: what is to be made of rows.
        address: of the cluster, HOST:PORT; or `AUTO`, or `LOCAL`.
        workers: how many; None = one for each machine.

    Raises:
        ClusterError: there is no such cluster, or one of its machines lacks something.
    """
    ray = _ray()
    with _connected(ray, address, workers):
        machines = _machines(ray)
        count, threads = _shared_out([cpus for _, cpus in machines], workers)
        _ask(ray, machines, work)
        yield Cluster(ray, work, count, threads)


def _read(window: Mapping[str, Any], told: set[str]) -> Iterator[Written]:
    """The rows of a window, once what else it says is passed on.

    Args:
        window: as a worker gave it.
        told: the warnings that were passed on already.
    """
    if "refused" in window:
        raise ClusterError(window["refused"])
    if "fault" in window:
        raise RuntimeError(f"A worker failed.\n{window['fault']}")
    for sentence in window["warnings"]:
        if sentence not in told:
            told.add(sentence)
            log.warning("%s", sentence)
    yield from window["rows"]


def _ray() -> Any:
    """Ray, told to report nothing to anybody, and to say little.

    Raises:
        ClusterError: it is not installed.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise ClusterError(
            "--cluster needs Ray, which is not installed; pip install 'atmoe[cluster]'."
        ) from error
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    return ray


@contextlib.contextmanager
def _connected(ray: Any, address: str, workers: int | None) -> Iterator[None]:
    """A cluster, until the end of the block; one that was started for it ends with it.

    Raises:
        ClusterError: there is none at this address.
    """
    quiet = dict(log_to_driver=False, logging_level=logging.ERROR)
    local = dict(include_dashboard=False, num_cpus=max(os.cpu_count() or 1, workers or 1))
    main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGTERM)
    try:
        where = _running(ray) if address == AUTO else address
        if where == LOCAL:
            ray.init(LOCAL, **quiet, **local)
        else:
            _knock(where)
            # By this word, not by its address: so alone Ray looks for the token of a cluster here.
            ray.init(address, **quiet)
    except (OSError, RuntimeError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ClusterError(
            f"No Ray cluster can be joined at {address} ({reason.rstrip('.')}); give HOST:PORT of "
            "one that this machine belongs to (ray start --address HOST:PORT), or auto. One that "
            "was started with a token, as ray start says then, needs RAY_AUTH_MODE=token here too."
        ) from error
    finally:
        if main:  # Ray puts its own there
            signal.signal(signal.SIGTERM, before)
    try:
        yield
    finally:
        ray.shutdown()


def _running(ray: Any) -> str:
    """The address of the cluster that runs here; `LOCAL` where none does.

    What `ray.init("auto")` does, but that tries for minutes to join one that is gone.
    """
    try:
        where = ray._private.services.canonicalize_bootstrap_address(AUTO)
        if where is None:
            return LOCAL
        if not os.environ.get("RAY_ADDRESS"):
            _knock(where)
    except OSError:  # nobody answers
        return LOCAL
    return where


def _knock(where: str) -> None:
    """Raises: OSError, ValueError, where nobody answers, for which Ray itself waits minutes."""
    host, _, port = where.rpartition(":")
    socket.create_connection((host, int(port)), SECONDS).close()


def _machines(ray: Any) -> list[tuple[str, int]]:
    """The machines that have processors to give: Ray's id of each, and how many.

    Raises:
        ClusterError: there is none.
    """
    nodes = [node for node in ray.nodes() if node["Alive"]]
    machines = [(node["NodeID"], int(node["Resources"].get("CPU", 0))) for node in nodes]
    machines = [machine for machine in machines if machine[1]]
    if not machines:
        raise ClusterError("The cluster has no processor to give; add a machine that has.")
    return machines


def _ask(ray: Any, machines: Sequence[tuple[str, int]], work: Work) -> None:
    """Ask every machine whether it would make the same of a row.

    Raises:
        ClusterError: one would not, or has no atmoe.
    """
    at = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
    asked = []
    for node, _ in machines:
        asking = ray.remote(refusal).options(num_cpus=0, scheduling_strategy=at(node, False))
        asked.append(asking.remote(work))
    try:
        refused = list(filter(None, ray.get(asked)))
    except ray.exceptions.RayError as error:
        raise ClusterError(
            f"A machine of the cluster cannot run atmoe {work.version} ({type(error).__name__}); "
            "install the same version on every machine, for the Python that Ray runs there."
        ) from error
    if refused:
        raise ClusterError(refused[0])


def _shared_out(cpus: Sequence[int], workers: int | None) -> tuple[int, int]:
    """How many workers, and how many threads each has.

    Args:
        cpus: of each machine.
        workers: as asked for; None = one for each machine.

    Raises:
        ClusterError: there are fewer processors than workers.
    """
    count = workers or len(cpus)
    if count > sum(cpus):
        raise ClusterError(
            f"The cluster has {sum(cpus)} processors, too few for {count} workers; pass a smaller "
            "--workers."
        )
    return count, min(min(cpus), sum(cpus) // count)
