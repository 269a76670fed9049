"""The models that the playground answers with: a run's and its base, opened when somebody asks and closed when nobody has for a while.

>>> keeper = ModelKeeper()
>>> async with keeper.use(Path("runs/faq"), say=print) as pair:
...     generation = pair.service.submit(pair.tuned, [pair.tuned.request(prompt_ids, config, with_text=True)])

One pair is in memory at a time. Who asks for another run waits until the answers under way have ended. Everything is called on the event
loop; loading and rendering happen in threads, so that no page waits for them.
"""

from __future__ import annotations

import asyncio
import dataclasses
import gc
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from tunesmith.config import GenerateConfig
from tunesmith.errors import DataError
from tunesmith.runs import RunDirectory, open_run
from tunesmith.studio.pages.playground_rules import ChosenRules, Side, open_guards
from tunesmith.studio.pages.rate_standing import of_this_making
from tunesmith.types import Message

if TYPE_CHECKING:  # they load torch, which a studio without questions needs not
    from tunesmith.serve.guarding import Guard
    from tunesmith.serve.service import GenerationService
    from tunesmith.together import ServedModel

Say = Callable[[str], None]
Value = TypeVar("Value")

IDLE_SECONDS = 600.0
CLOCK_SECONDS = 0.05
"""A timer may fire this much early."""
BATCH_SIZE, QUEUE_SIZE = 16, 64
REQUEST_SECONDS = 900.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Pair:
    """A run's model and what it was tuned from, ready to be asked."""

    run: RunDirectory
    stamp: int
    """Of the run's manifest: a run that was trained anew is opened anew."""
    base: ServedModel
    tuned: ServedModel
    service: GenerationService
    guards: dict[str, Mapping[Side, Guard]] = field(default_factory=dict)
    """Guardrails by their settings, as they were asked for."""

    def model(self, side: Side) -> ServedModel:
        return self.base if side == "base" else self.tuned


class Rendered(NamedTuple):
    """A prompt as the model sees it."""

    ids: tuple[int, ...]
    num_cut: int
    """Tokens left out because the context has no room for them."""


class Opened(NamedTuple):
    """Both models, under the names of their sides."""

    base: ServedModel
    tuned: ServedModel


class ModelKeeper:
    """Keeps at most one pair open."""

    def __init__(self, *, idle_seconds: float = IDLE_SECONDS, open_models: Callable[[RunDirectory, Say], Opened] | None = None) -> None:
        """See the class.

        Args:
            idle_seconds: after the last answer until the models are closed.
            open_models: called in a thread.
        """
        self._idle_seconds = idle_seconds
        self._open_models = open_models or open_models_of
        self._door = asyncio.Lock()
        self._nobody = asyncio.Event()
        self._nobody.set()
        self._num_users = 0
        self._idle_from = 0.0
        self._pair: Pair | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._closing: asyncio.Task[None] | None = None
        self._renderers = ThreadPoolExecutor(1, thread_name_prefix="playground")  # tokenizers are not made for several threads

    @property
    def open_run(self) -> str | None:
        """The name of the run whose models are in memory."""
        return self._pair.run.name if self._pair else None

    @asynccontextmanager
    async def use(self, path: Path, *, say: Say) -> AsyncIterator[Pair]:
        """The models of a run, which stay open as long as the block lasts.

        Args:
            path: of the run.
            say: told what is being done while it takes long.

        Raises:
            RunError, AssetError: a model cannot be opened.
            Unreadable: the run's records are damaged.
        """
        if self._door.locked():
            say("waiting while other models are opened")
        async with self._door:
            pair = await self._opened(RunDirectory(path), say)
            self._num_users += 1
            self._nobody.clear()
            if self._timer is not None:
                self._timer.cancel()
        try:
            yield pair
        finally:
            self._num_users -= 1
            if not self._num_users:
                self._nobody.set()
                loop = asyncio.get_running_loop()
                self._idle_from = loop.time()
                self._timer = loop.call_later(self._idle_seconds, self._idle)

    async def _opened(self, run: RunDirectory, say: Say) -> Pair:
        stamp = _stamp(run)
        if self._pair is not None and self._pair.run == run and self._pair.stamp == stamp and self._pair.service.is_healthy:
            return self._pair
        if self._num_users:
            say("waiting for answers under way with another run")
        await self._nobody.wait()
        await self._close()
        self._pair = await self._open(run, stamp, say)
        return self._pair

    async def _open(self, run: RunDirectory, stamp: int, say: Say) -> Pair:
        loop = asyncio.get_running_loop()
        say("loading the engine")

        def say_from_thread(text: str) -> None:
            loop.call_soon_threadsafe(say, text)

        models = await asyncio.to_thread(self._open_models, run, say_from_thread)
        from tunesmith.serve.service import GenerationService

        service = GenerationService(models, batch_size=BATCH_SIZE, queue_size=QUEUE_SIZE, request_seconds=REQUEST_SECONDS)
        await service.start()
        return Pair(run=run, stamp=stamp, base=models.base, tuned=models.tuned, service=service)

    async def render(self, model: ServedModel, messages: Sequence[Message], config: GenerateConfig) -> Rendered:
        """A prompt, cut as training would where the context has no room for all of it.

        Raises:
            DataError: it does not fit even when cut, or the template has no place for it.
        """
        return await self._beside(partial(_rendered, model, messages, config))

    async def guards(self, pair: Pair, rules: ChosenRules) -> Mapping[Side, Guard]:
        """Guardrails, made once for a pair; none for a model that they are not for.

        Raises:
            ConfigError, DataError, RunError, AssetError, Unreadable: the file cannot be used, or a rule needs what is not there.
        """
        return await self._beside(partial(_guards, pair, rules))

    async def checked(self, check: Callable[[], Value]) -> Value:
        """What a guardrail says, beside the event loop."""
        return await self._beside(check)

    async def _beside(self, work: Callable[[], Value]) -> Value:
        return await asyncio.get_running_loop().run_in_executor(self._renderers, work)

    def _idle(self) -> None:
        self._closing = asyncio.get_running_loop().create_task(self._close_if_idle())

    async def _close_if_idle(self) -> None:
        async with self._door:  # somebody may have come and gone while it was waited for
            idle_seconds = asyncio.get_running_loop().time() - self._idle_from
            if not self._num_users and idle_seconds + CLOCK_SECONDS >= self._idle_seconds:
                await self._close()

    async def close(self) -> None:
        """Cut what runs and let go of the models."""
        if self._timer is not None:
            self._timer.cancel()
        await self._close()
        self._renderers.shutdown(wait=False)

    async def _close(self) -> None:
        pair, self._pair = self._pair, None
        if pair is not None:
            await pair.service.stop()
            del pair
            await asyncio.to_thread(gc.collect)  # networks have cycles


def _stamp(run: RunDirectory) -> int:
    try:
        return (run.path / "manifest.json").stat().st_mtime_ns
    except OSError:
        return 0  # opening says what is missing


def open_models_of(run: RunDirectory, say: Say) -> Opened:
    """A run's model and its base, one network where they can share it. Both see the same prompts, token for token, as in an evaluation.

    The base of a run with new tokens has no rows for them: it is asked with the template of its own.

    Raises:
        RunError, AssetError, Unreadable: a model cannot be opened.
    """
    from tunesmith.together import open_together
    from tunesmith.tuned import base_directory

    with of_this_making(f"run.json of {run.name}"):
        tuned, *others = open_together([run.path], say=say)
        record = open_run(run.path).record()
        shared = [one for one in others if one.base is tuned.base]
        base = shared[0] if shared else open_together([base_directory(record)], say=say)[0]
        if not record["config"].get("new_tokens"):
            base = dataclasses.replace(base, renderer=tuned.renderer, trained_on_text=tuned.trained_on_text)
    return Opened(base=dataclasses.replace(base, name="base"), tuned=dataclasses.replace(tuned, name="tuned"))


def _rendered(model: ServedModel, messages: Sequence[Message], config: GenerateConfig) -> Rendered:
    """However many new tokens are allowed, the prompt has half of the context; an answer ends where it is full.

    Of a conversation that is longer the earliest messages are left out.
    """
    reserved = config.model_copy(update={"max_new_tokens": min(config.max_new_tokens, max(1, model.context_length // 2))})
    num_system = int(messages[0].role == "system")
    system, turns = messages[:num_system], messages[num_system:]
    while True:
        try:
            ids = model.prompt_ids([*system, *turns], reserved)
            break
        except DataError as error:
            if len(turns) < 3:
                raise DataError(error.place, error.found, expected=error.expected, remedy="shorten it, or allow fewer new tokens") from None
            turns = turns[2:]
    num_whole = len(ids) if model.trained_on_text else len(model.renderer.prompt_ids(messages))
    return Rendered(ids, num_whole - len(ids))


def _guards(pair: Pair, rules: ChosenRules) -> Mapping[Side, Guard]:
    config = rules.settings()
    if config is None:
        return {}
    key = config.model_dump_json()  # a file that was changed has others
    if key not in pair.guards:
        pair.guards[key] = open_guards(config, pair.run, {"base": pair.base, "tuned": pair.tuned})
    return pair.guards[key]
