"""The form a client wants its answer in: `response_format`, a JSON schema that may be made to do harm.

However many steps and patterns are limited, one comparison of a schema's values may take seconds and hold the interpreter, and with it
everybody's answers. So clients' schemas are looked at in processes of their own, which are ended when they take too long.
"""

from __future__ import annotations

import asyncio
import json
import math
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from tunesmith.serve.guarding import AnswerVerdict
from tunesmith.serve.guardrails.json_schema import TOO_MUCH, verdict_on
from tunesmith.serve.problems import ApiError, invalid, too_busy
from tunesmith.serve.schema import ChatRequest, JsonObjectFormat, JsonSchemaFormat

MOST_PROCESSES = 2
"""Who comes on top waits for one."""
MOST_WAITING_SCHEMAS, MOST_WAITING_ANSWERS = 64, 128
"""As many; of answers more, for to make them has cost something. Who comes on top of these is told to come again."""
SECONDS = 3.0
"""For one schema, and for one answer."""
START_SECONDS = 60.0
MOST_SCHEMA_CHARACTERS, MOST_ANSWER_CHARACTERS = 65_536, 1_048_576
COMMAND = (sys.executable, "-P", "-m", "tunesmith.serve.schema_worker")
"""`-P`: what lies in the working directory is not imported."""


class SchemaProcesses:
    """Started when they are needed, and kept."""

    def __init__(self, *, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._idle: list[Process] = []
        self._places = asyncio.Semaphore(MOST_PROCESSES)
        self._num_asking = 0

    async def ask(self, schema: str, text: str | None) -> Mapping[str, Any] | None:
        """What `schema_worker.answered` says; None: it took too long, or too much memory.

        Raises:
            ApiError: too many wait.
        """
        num_waiting = self._num_asking - MOST_PROCESSES
        if num_waiting >= (MOST_WAITING_SCHEMAS if text is None else MOST_WAITING_ANSWERS):
            raise too_busy(math.ceil(num_waiting * self._seconds / MOST_PROCESSES / 2))  # not every one takes all of its time
        self._num_asking += 1
        try:
            return await self._ask(schema, text)
        finally:
            self._num_asking -= 1

    async def _ask(self, schema: str, text: str | None) -> Mapping[str, Any] | None:
        async with self._places:
            process = await self._one()
            is_sound = False
            try:
                answer = await self._answer(process, schema, text)
                is_sound = answer is not None
            finally:  # also where the client has left: the process would answer the next one with this
                if is_sound:
                    self._idle.append(process)
                else:
                    await _end(process)
            return answer

    async def close(self) -> None:
        """End them."""
        while self._idle:
            await _end(self._idle.pop())

    async def _one(self) -> Process:
        while self._idle:
            process = self._idle.pop()
            if process.returncode is None:
                return process
        return await _started()

    async def _answer(self, process: Process, schema: str, text: str | None) -> Mapping[str, Any] | None:
        assert process.stdin is not None
        with suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(self._seconds):
                process.stdin.write(json.dumps({"schema": schema, "text": text}).encode() + b"\n")
                await process.stdin.drain()
                return await _line(process)
        return None


async def _started() -> Process:
    process = await asyncio.create_subprocess_exec(*COMMAND, stdin=PIPE, stdout=PIPE)
    is_ready = False
    try:
        async with asyncio.timeout(START_SECONDS):
            is_ready = await _line(process) is not None
    finally:
        if not is_ready:
            await _end(process)
    if not is_ready:
        raise RuntimeError(f"{' '.join(COMMAND)} does not start")
    return process


async def _line(process: Process) -> Mapping[str, Any] | None:
    """None: it has ended."""
    assert process.stdout is not None
    line = await process.stdout.readline()
    answer: Mapping[str, Any] | None = json.loads(line) if line.endswith(b"\n") else None
    return answer


async def _end(process: Process) -> None:
    with suppress(ProcessLookupError):
        process.kill()
    await asyncio.shield(process.wait())


@dataclass(frozen=True, kw_only=True)
class Form:
    """What an answer must be."""

    schema: str
    """JSON Schema, written as JSON."""
    processes: SchemaProcesses

    async def check_answer(self, text: str) -> AnswerVerdict:
        """Whether it is so.

        Raises:
            ApiError: too many wait.
        """
        if len(text) > MOST_ANSWER_CHARACTERS:
            return verdict_on(text, TOO_MUCH)
        answer = await self.processes.ask(self.schema, text) or {"problem": TOO_MUCH}
        return verdict_on(text, answer.get("refused") or answer["problem"])  # refused only now, as where reading it again takes longer


async def form_of(body: ChatRequest, processes: SchemaProcesses) -> Form | None:
    """What a request wants; None: any text.

    Raises:
        ApiError: the schema cannot be used, or too many wait to have theirs looked at.
    """
    wanted = body.response_format
    if not isinstance(wanted, JsonSchemaFormat | JsonObjectFormat):
        return None
    if isinstance(wanted, JsonObjectFormat):
        return Form(schema='{"type": "object"}', processes=processes)
    schema = _written(wanted.json_schema.definition)
    answer = await processes.ask(schema, None) or {"refused": f"{TOO_MUCH}."}
    if "refused" in answer:
        raise _refused(answer["refused"])
    return Form(schema=schema, processes=processes)


def _written(schema: Mapping[str, Any]) -> str:
    try:
        written = json.dumps(schema)
    except RecursionError:
        raise _refused("a schema that is too deep.") from None
    if len(written) > MOST_SCHEMA_CHARACTERS:
        raise _refused(f"a schema of {len(written):,} characters; expected at most {MOST_SCHEMA_CHARACTERS:,}.")
    return written


def _refused(message: str) -> ApiError:
    return invalid("response_format", f"The schema cannot be used: {message}", code="invalid_schema")
