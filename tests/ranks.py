"""Functions on every rank of a group of processes of this machine, as torchrun would start them.

>>> run_ranks(2, sum_of_ranks)        # a function at the top of a module, with its arguments
[1, 1]
"""

from __future__ import annotations

import multiprocessing
import os
import socket
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from typing import Any

SECONDS = 300
"""Until a group counts as hanging."""


def run_ranks(size: int, function: Callable[..., Any], *arguments: Any) -> list[Any]:
    """What the function returned on each rank.

    Raises:
        AssertionError: it failed on a rank (with that rank's traceback), or hangs.
    """
    context = multiprocessing.get_context("spawn")
    port = free_port()
    pipes = [context.Pipe(duplex=False) for _ in range(size)]
    processes = [context.Process(target=_rank, args=(rank, size, port, pipes[rank][1], function, arguments)) for rank in range(size)]
    for process, (_, writing) in zip(processes, pipes, strict=True):
        process.start()
        writing.close()
    results: dict[int, Any] = {}
    waiting = {reading: rank for rank, (reading, _) in enumerate(pipes)}
    try:
        while waiting:
            ready = wait(list(waiting), timeout=SECONDS)
            assert ready, f"ranks {sorted(waiting.values())} hang"
            for reading in ready:
                rank = waiting.pop(reading)  # type: ignore[arg-type]
                results[rank], failure = _received(reading)  # type: ignore[arg-type]
                assert failure is None, f"rank {rank}:\n{failure}"
    finally:
        for process in processes:
            process.join(5 if not waiting else 0)
            process.kill()
            process.join()
    return [results[rank] for rank in range(size)]


def _received(reading: Connection) -> tuple[Any, str | None]:
    try:
        result: tuple[Any, str | None] = reading.recv()
    except EOFError:
        return None, "it died"
    return result


def _rank(rank: int, size: int, port: int, results: Connection, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ |= {name: str(value) for name, value in place.items()} | {"OMP_NUM_THREADS": "1"}
    import torch

    torch.set_num_threads(1)
    try:
        results.send((function(*arguments), None))
    except BaseException:
        results.send((None, traceback.format_exc()))


def free_port() -> int:
    """One that nobody listens on now."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])
