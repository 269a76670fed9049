"""Asking a `tunesmith` verb for its JSON document, in a process of its own: what loads models stays out of the studio's.

>>> document = await ask(["preview", "prepared/faq", "--model=smollm2-135m-instruct", "--json"])
>>> document["num_tokens"]
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tunesmith.errors import RunError
from tunesmith.studio.processes import command_line
from tunesmith.studio.readable import Unreadable, parse_object

MOST_SHOWN = 4000
"""Characters of what a failed command said."""


async def ask(words: Sequence[str | Path], *, timeout_seconds: float = 600) -> dict[str, Any]:
    """Run `tunesmith WORDS`, which end in `--json`, and parse what it prints. Cancelling ends the process.

    Raises:
        RunError: it failed, in its own words; or it took too long.
    """
    place = f"tunesmith {words[0]}"
    process = await asyncio.create_subprocess_exec(
        *command_line(*words), stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
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
