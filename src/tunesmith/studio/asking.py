"""Asking a `tunesmith` verb for its JSON document, in a process of its own: what loads models stays out of the studio's.

>>> document = await ask(["preview", "prepared/faq", "--model=smollm2-135m-instruct", "--json"])
>>> document["num_tokens"]

>>> answers = Answers()                          # of one event loop
>>> await answers.ask(["runs", "compare", first, other, "--json"], made_of=files)      # the second time at once, while no file has changed
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tunesmith.errors import RunError
from tunesmith.studio.processes import command_line
from tunesmith.studio.readable import Unreadable, parse_object
from tunesmith.studio.reading import stamp_of

MOST_SHOWN = 4000
"""Characters of what a failed command said."""
MOST_KEPT = 64
"""Answers; the oldest go first."""
LAST_IN_LINE = 19
"""`nice` of a process that takes what processors others leave."""


async def ask(words: Sequence[str | Path], *, timeout_seconds: float = 600, gives_way: bool = False) -> dict[str, Any]:
    """Run `tunesmith WORDS`, which end in `--json`, and parse what it prints. Cancelling ends the process.

    Args:
        words: of the command.
        timeout_seconds: until it is ended.
        gives_way: to whatever else runs, pages above all; not for what measures time.

    Raises:
        RunError: it failed, in its own words; or it took too long.
    """
    place = f"tunesmith {words[0]}"
    process = await asyncio.create_subprocess_exec(
        *command_line(*words), stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    if gives_way and hasattr(os, "setpriority"):  # POSIX
        with suppress(ProcessLookupError):  # it has ended already
            os.setpriority(os.PRIO_PROCESS, process.pid, LAST_IN_LINE)
    try:
        printed, said = await asyncio.wait_for(process.communicate(), timeout_seconds)
    except TimeoutError:
        raise RunError(place, f"no answer in {timeout_seconds:,.0f} seconds", expected="one", remedy="try it in a terminal") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        reason = said.decode("utf-8", "replace").strip()[-MOST_SHOWN:]
        raise RunError(place, reason or f"it ended with exit code {process.returncode}", expected="an answer", remedy="mend what it names")
    try:
        return parse_object(printed, "what it printed")
    except Unreadable as error:
        raise RunError(place, str(error), expected="a JSON document", remedy="try it in a terminal") from None


async def ask_giving_way(words: Sequence[str | Path]) -> dict[str, Any]:
    """`ask` for what nobody has to have at once.

    Raises:
        RunError: see `ask`.
    """
    return await ask(words, gives_way=True)


class Answers:
    """What verbs answered, kept until a file that it was made of changes.

    One process at a time, which gives way to pages: ten thousand examples take one some seconds.
    """

    def __init__(self, ask: Callable[[Sequence[str | Path]], Awaitable[dict[str, Any]]] | None = None) -> None:
        """`ask`: in the place of a process, for tests."""
        self._run = ask or ask_giving_way
        self._tasks: dict[tuple[object, ...], asyncio.Task[dict[str, Any]]] = {}
        self._turn = asyncio.Lock()

    async def ask(self, words: Sequence[str | Path], *, made_of: Iterable[Path]) -> dict[str, Any]:
        """As `ask`; who asks for an answer that is on its way waits for it, and it comes even if nobody does any more.

        Raises:
            RunError: see `ask`; a failure is not kept.
        """
        key = (*words, *map(stamp_of, made_of))
        task = self._tasks.get(key)
        if task is None:
            task = self._tasks[key] = asyncio.create_task(self._ask(words))
            task.add_done_callback(lambda ended: self._ended(key, ended))
        return await asyncio.shield(task)

    async def _ask(self, words: Sequence[str | Path]) -> dict[str, Any]:
        async with self._turn:
            return await self._run(words)

    def _ended(self, key: tuple[object, ...], task: asyncio.Task[dict[str, Any]]) -> None:
        if task.cancelled() or task.exception() is not None:
            del self._tasks[key]
        for oldest in [one for one, its in self._tasks.items() if its.done()][:-MOST_KEPT]:
            del self._tasks[oldest]
