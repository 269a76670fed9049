"""`--processes N`: the verb's own command line once more, as a group of processes."""

from __future__ import annotations

from typing import Annotated

import typer

Processes = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=1,
        help="Share the work among so many processes of this machine, one for each GPU; not with torchrun or srun. [default: 1]",
    ),
]


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
