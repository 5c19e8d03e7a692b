"""Several processes on a machine without GPUs.

`accelerate launch --num_processes N` starts N processes where there are N GPUs; on CPUs it starts
one, and says nothing. So a training that finds itself alone, where more were asked for, starts the
N itself, as torchrun does.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence

import psutil

from atmoe.mixture.precision import placed


def asked_for(words: Sequence[str]) -> int:
    """The number of processes in an `accelerate launch` command line; 1 where it says nothing.

    Args:
        words: of the command line; what stands after the program it launches is the program's own.
    """
    line = " ".join(words)
    launch = re.search(r"accelerate(?: |-|\S*\.)launch (.*?)(?:-m|--module) atmoe\b", line)
    number = re.search(r"--num[_-]processes[= ](\d+)", launch[1]) if launch else None
    return int(number[1]) if number else 1


def start_all() -> None:
    """Replace this process by the N that accelerate was asked for and did not start.

    Returns where there is nothing to do.
    """
    parent = psutil.Process().parent()
    if "WORLD_SIZE" in os.environ or placed() != "cpu" or parent is None:
        return
    count = asked_for(parent.cmdline())
    if count > 1:
        # Left to itself, accelerate says one thread a process, and leaves cores idle.
        if not any(word.startswith("--num_cpu_threads") for word in parent.cmdline()):
            os.environ["OMP_NUM_THREADS"] = str(max(1, len(os.sched_getaffinity(0)) // count))
        os.execv(
            sys.executable,
            [
                sys.executable,
                "-m",
                "torch.distributed.run",
                "--standalone",
                "--nproc_per_node",
                str(count),
                "-m",
                "atmoe",
                *sys.argv[1:],
            ],
        )
