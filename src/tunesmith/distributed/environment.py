"""Which group this process was started for, by the environment: torchrun's variables, or SLURM's where srun started it.

torchrun: https://docs.pytorch.org/docs/stable/elastic/run.html ("Environment Variables").
srun: https://slurm.schedmd.com/srun.html ("OUTPUT ENVIRONMENT VARIABLES"); only srun sets SLURM_STEP_NUM_TASKS, so a command
in a batch script that is not under srun stays a process of its own.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from tunesmith.errors import GroupError

SLURM_PORTS = range(20_000, 30_000)
"""One of them by the numbers of job and step, so that those that share a machine do not meet."""


MEMBERSHIP = frozenset({"RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_RUN_ID", "SLURM_STEP_NUM_TASKS"})
"""The variables by which a process belongs to a group."""


def outside_groups(environment: Mapping[str, str]) -> dict[str, str]:
    """For a process that is to be alone, though srun or torchrun started those that start it, as where srun starts Ray."""
    return {name: value for name, value in environment.items() if name not in MEMBERSHIP}


@dataclass(frozen=True, kw_only=True)
class Place:
    """One process of a group."""

    rank: int
    size: int
    local_rank: int
    address: str
    port: int
    is_unaided: bool
    """No launcher keeps the meeting place: the first rank does."""


def place_of_this_process(environment: Mapping[str, str] = os.environ) -> Place | None:
    """None when this process was started alone.

    Raises:
        GroupError: the variables contradict each other.
    """
    if "TORCHELASTIC_RUN_ID" in environment or {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"} <= environment.keys():
        place = _place(environment, "RANK", "WORLD_SIZE", "LOCAL_RANK", environment["MASTER_ADDR"], environment["MASTER_PORT"])
    elif int(environment.get("SLURM_STEP_NUM_TASKS", "1")) > 1:
        address = environment.get("MASTER_ADDR") or first_host(environment["SLURM_STEP_NODELIST"])
        number = int(environment["SLURM_JOB_ID"]) + 7 * int(environment.get("SLURM_STEP_ID", "0"))  # steps of a job may run side by side
        port = environment.get("MASTER_PORT") or str(SLURM_PORTS[number % len(SLURM_PORTS)])
        place = _place(environment, "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", address, port, is_unaided=True)
    else:
        return None
    return place if place.size > 1 else None


def _place(
    environment: Mapping[str, str], rank: str, size: str, local_rank: str, address: str, port: str, *, is_unaided: bool = False
) -> Place:
    numbers = {name: environment.get(name, "0") for name in (rank, size, local_rank)}
    if not all(number.isdigit() for number in (*numbers.values(), port)) or int(numbers[rank]) >= int(numbers[size]):
        raise GroupError(
            "the environment",
            ", ".join(f"{name}={number}" for name, number in numbers.items()) + f", port {port}",
            expected=f"whole numbers, {rank} below {size}",
            remedy="start the command with --processes N, torchrun or srun, which set them",
        )
    return Place(
        rank=int(numbers[rank]),
        size=int(numbers[size]),
        local_rank=int(numbers[local_rank]),
        address=address,
        port=int(port),
        is_unaided=is_unaided,
    )


def first_host(hosts: str) -> str:
    """Of SLURM's list: `node[03-05,09],login1` begins with `node03`.

    >>> first_host("gpu[007-012]")
    'gpu007'
    """
    first = re.match(r"(?:[^,\[]|\[[^\]]*\])*", hosts)
    assert first is not None
    return re.sub(r"\[([^\],-]*)[^\]]*\]", r"\1", first.group())


def launch_id(environment: Mapping[str, str] = os.environ) -> str | None:
    """What names this launch, the same when its processes are started again: torchrun's --rdzv-id, or SLURM's step.

    None where nothing does.
    """
    torchrun = environment.get("TORCHELASTIC_RUN_ID", "none")
    if torchrun != "none":
        return f"torchrun {torchrun}"
    if int(environment.get("SLURM_STEP_NUM_TASKS", "1")) > 1:
        return f"slurm {environment['SLURM_JOB_ID']}.{environment.get('SLURM_STEP_ID', '0')}"
    return None
