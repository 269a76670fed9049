"""One command as several processes of this machine, started and watched by torchrun's own engine (torch.distributed.elastic).

    code = launch(["train", "prepared/faq", "--model", "smollm2-135m-instruct", "--processes", "2"], processes=2)

The first rank has the terminal; what the others say is shown when they are what failed.
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
import tempfile
import uuid
from collections.abc import Sequence
from pathlib import Path
from signal import Signals
from typing import TYPE_CHECKING

from tunesmith.distributed.environment import place_of_this_process
from tunesmith.errors import ConfigError, GateError, GroupError, TunesmithError
from tunesmith.workers import available_cores

if TYPE_CHECKING:
    from torch.distributed.elastic.multiprocessing import ProcessFailure

SECONDS_TO_SAVE = 600
"""After Ctrl-C ranks finish their step and write a checkpoint."""
CONSEQUENCES = (GroupError.exit_code, -Signals.SIGTERM)
"""How ranks end because another one did: they lose touch with it, or are told to stop."""
MISTAKES = (TunesmithError.exit_code, GateError.exit_code)
"""Of the user's, or a gate that refuses."""
LINES_SHOWN = 20
"""Of what a rank without the terminal said before it failed."""


def needs_launch(processes: int | None) -> bool:
    """Whether this process is to start the group rather than to belong to it.

    Raises:
        ConfigError: this process belongs to a group of another size.
    """
    place = place_of_this_process()
    if processes is None or (place is not None and place.size == processes):
        return False
    if place is not None:
        raise ConfigError(
            "--processes",
            f"{processes} in a group of {place.size} processes that torchrun or SLURM started",
            expected="the number to come from who starts them",
            remedy="leave --processes out",
        )
    return processes > 1


def launch(arguments: Sequence[str], *, processes: int, module: str = "tunesmith") -> int:
    """Run `python -m MODULE ARGUMENTS` as a group; the exit code of the first process that failed, else 0.

    Raises:
        GroupError: a process was killed.
    """
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException, Std
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, available_cores() // processes)))
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # what matters is said below
    logs = Path(tempfile.mkdtemp(prefix="tunesmith-ranks-"))
    others: dict[int, Std] = dict.fromkeys(range(1, processes), Std.ALL)
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
        local_addr="localhost",
        logs_specs=DefaultLogsSpecs(log_dir=str(logs), redirects=others),
        shutdown_timeout=SECONDS_TO_SAVE,
    )
    try:
        elastic_launch(config, sys.executable)("-m", module, *arguments)
    except ChildFailedError as error:
        return _explain(error.failures, logs)
    except SignalException:
        return 130
    finally:
        shutil.rmtree(logs, ignore_errors=True)
    return 0


def _explain(failures: dict[int, ProcessFailure], logs: Path) -> int:
    """Say which rank failed and why, unless it has said so itself.

    Raises:
        GroupError: it was killed and could not.
    """
    causes = [rank for rank, failure in failures.items() if failure.exitcode not in CONSEQUENCES] or list(failures)
    # The launcher kills those that do not end by themselves once one has failed: the first to fall is the reason.
    rank = min(causes, key=lambda rank: (failures[rank].timestamp, failures[rank].exitcode >= 0, rank))
    failure = failures[rank]
    if 0 in causes and failures[0].exitcode == failure.exitcode in MISTAKES:  # which all ranks meet alike, and the first one has said
        return failure.exitcode
    if rank:
        print(_last_words(logs, rank), end="", file=sys.stderr)
    if failure.exitcode >= 0:
        return failure.exitcode
    raise GroupError(
        f"rank {rank} of the group (process {failure.pid})",
        f"killed by signal {-failure.exitcode} ({Signals(-failure.exitcode).name}), as for want of memory",
        expected="all ranks to live to the end",
        remedy="go on from the last checkpoint with `tunesmith train --resume RUN`, with fewer tokens at a time if memory was short",
    )


def _last_words(logs: Path, rank: int) -> str:
    """What a rank wrote to its standard error."""
    files = sorted(logs.rglob(f"{rank}/stderr.log"))
    lines = files[-1].read_text(encoding="utf-8", errors="replace").splitlines(keepends=True) if files else []
    return "".join(lines[-LINES_SHOWN:])
