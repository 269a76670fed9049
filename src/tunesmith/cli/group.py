"""`--processes N`: the verb's own command line once more, as a group of processes."""

from __future__ import annotations

from typing import Annotated

import typer

from tunesmith.errors import ConfigError

Processes = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=1,
        help="Share the work among so many processes of this machine, one for each GPU; not with torchrun or srun. [default: 1]",
    ),
]


def check_engine(engine: str | None, vllm_options: str | None, processes: int | None = None) -> None:
    """Refuse what cannot go together.

    Raises:
        ConfigError: vLLM's options without vLLM, or several processes that would ask it.
    """
    if vllm_options is not None and engine != "vllm":
        raise ConfigError("--vllm-options", "no --engine vllm", expected="both, or neither", remedy="add --engine vllm, or leave it out")
    if engine == "vllm" and processes not in (None, 1):
        raise ConfigError(
            "--engine vllm",
            f"--processes {processes} with it",
            expected="one process: vLLM spreads its work by itself",
            remedy="leave --processes out; --vllm-options '--tensor-parallel-size N' takes N GPUs",
        )


def start_group(context: typer.Context, processes: int | None) -> None:
    """Start the group and end with its exit code, where this process is not in one yet.

    Raises:
        ConfigError: the group has another size.
        GroupError: a process was killed.
        typer.Exit: the group has ended.
    """
    if processes is None:
        return
    from tunesmith.distributed.launching import launch, needs_launch

    if needs_launch(processes):
        raise typer.Exit(launch(context.find_root().obj, processes=processes))
