"""What fits where: every strategy against the memory of a process, the fewest processes, and what else would fit.

>>> verdict = what_fits(subject, processes=8, room=80e9)
>>> verdict.sentences()
['fits in 80.0 GB a process: fsdp (35.1 GB, 44.9 GB to spare)', …]
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

from tunesmith.config import ADAPTER_METHODS, Method
from tunesmith.train.architecture import Architecture
from tunesmith.train.capacity import Memory, Setup, Strategy, memory
from tunesmith.train.forecast import gigabytes

MOST_PROCESSES = 65_536
FEW_TOKENS = 1024
"""Of a micro-batch, where several settings are changed at once."""

NAMES: Mapping[Strategy, str] = {
    "alone": "one process",
    "ddp": "ddp",
    "fsdp": "fsdp",
    "fsdp-offload": "fsdp, shards in host memory",
}


WHOLE: tuple[Strategy, ...] = ("alone", "ddp")
"""Each process holds the whole model."""
Spreads = Callable[[Method], bool]


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A model under every method, and how it is to be trained."""

    architectures: Mapping[Method, Architecture]
    setup: Setup

    @property
    def architecture(self) -> Architecture:
        return self.architectures[self.setup.method]

    def memory(self, strategy: Strategy, processes: int) -> Memory:
        return memory(self.architecture, self.setup, strategy, processes)

    def changed(self, **changes: object) -> Subject:
        return dataclasses.replace(self, setup=dataclasses.replace(self.setup, **changes))  # type: ignore[arg-type]


@dataclass(frozen=True, kw_only=True)
class Change:
    """Another setting, and what a process would need with it."""

    setting: str
    """As typed on the command line."""
    strategy: Strategy
    num_bytes: int


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Of one model, one number of processes, one memory."""

    processes: int
    room: int
    memories: Mapping[Strategy, Memory]
    fewest: Mapping[Strategy, int | None]
    """Of each way to share the model among processes; None: it never fits."""
    least: Mapping[Strategy, int]
    """What each of these needs of a process, however many there are."""
    changes: tuple[Change, ...]
    """Empty where something fits."""

    @property
    def fitting(self) -> list[Strategy]:
        return [strategy for strategy, memory in self.memories.items() if memory.total <= self.room]

    def sentences(self) -> list[str]:
        """The verdict in words."""
        found = []
        fitting = self.fitting
        room = gigabytes(self.room)
        if fitting:
            found.append(f"fits in {room} a process: {'; '.join(self._with_room(one) for one in fitting)}")
        missing = [f"{NAMES[one]} needs {gigabytes(memory.total)}" for one, memory in self.memories.items() if one not in fitting]
        if missing:
            found.append(f"does not fit in {room} a process: {'; '.join(missing)}")
        found += [self._fewest_in_words(strategy, count) for strategy, count in self.fewest.items()]
        if not fitting:
            found.append(f"what would fit: {self._changes_in_words()}")
        return found

    def _with_room(self, strategy: Strategy) -> str:
        total = self.memories[strategy].total
        return f"{NAMES[strategy]} ({gigabytes(total)}, {gigabytes(self.room - total)} to spare)"

    def _fewest_in_words(self, strategy: Strategy, count: int | None) -> str:
        if count is None:
            return f"no number of processes is enough for {NAMES[strategy]}: {gigabytes(self.least[strategy])} a process remain"
        return f"fewest processes that fit with {NAMES[strategy]}: {count:,}"

    def _changes_in_words(self) -> str:
        if not self.changes:
            return "a smaller model, or more memory a process"
        return ", or ".join(f"{one.setting} ({NAMES[one.strategy]}: {gigabytes(one.num_bytes)})" for one in self.changes)


def what_fits(
    subject: Subject, *, processes: int, room: int, strategies: tuple[Strategy, ...], spreads: Spreads = lambda _: True
) -> Verdict:
    """Compare every strategy with what a process has.

    Args:
        subject: what is to be trained, and how.
        processes: how many share it.
        room: bytes that a process may take of the memory it computes in.
        strategies: to compare; `alone` is for one process only.
        spreads: whether weights can be spread under a method, with these settings.
    """
    memories = {strategy: subject.memory(strategy, processes) for strategy in strategies}
    fits = any(memory.total <= room for memory in memories.values())
    offers_host = "fsdp-offload" in strategies or ("alone" in strategies and subject.setup.device == "cuda")
    shared: tuple[Strategy, ...] = () if not spreads(subject.setup.method) else ("fsdp", "fsdp-offload") if offers_host else ("fsdp",)
    fewest = {one: fewest_processes(_fits(subject, one, room), least=2) for one in shared}
    return Verdict(
        processes=processes,
        room=room,
        memories=memories,
        fewest={} if "alone" in strategies and fits else fewest,
        least={one: subject.memory(one, MOST_PROCESSES).total for one in shared},
        changes=() if fits else tuple(_changes_that_fit(subject, processes, room, strategies, fewest, spreads)),
    )


def _fits(subject: Subject, strategy: Strategy, room: int) -> Callable[[int], bool]:
    return lambda processes: subject.memory(strategy, processes).total <= room


def fewest_processes(fits: Callable[[int], bool], *, least: int = 1, most: int = MOST_PROCESSES) -> int | None:
    """The smallest number that fits, where more always need less each; None: not even `most` do.

    >>> fewest_processes(lambda processes: processes >= 12)
    12
    """
    if not fits(most):
        return None
    low, high = least - 1, most
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if fits(middle) else (middle, high)
    return high


def _changes_that_fit(
    subject: Subject,
    processes: int,
    room: int,
    strategies: tuple[Strategy, ...],
    fewest: Mapping[Strategy, int | None],
    spreads: Spreads,
) -> Iterator[Change]:
    """Each setting that is enough by itself, most harmless first; when none is, several of them."""

    def enough(options: Iterator[tuple[str, Subject]]) -> Iterator[Change]:
        for setting, changed in options:
            possible = strategies if spreads(changed.setup.method) else [one for one in strategies if one in WHOLE]
            needs = [(changed.memory(strategy, processes).total, strategy) for strategy in possible]
            fitting = [need for need in needs if need[0] <= room]
            if fitting:
                yield Change(setting=setting, strategy=fitting[0][1], num_bytes=fitting[0][0])

    found = [*islice(enough(_fewer_tokens(subject)), 1), *enough(_other_settings(subject))]
    for strategy, count in fewest.items():
        if count is not None:
            needed = subject.memory(strategy, count).total
            found.append(Change(setting=f"--processes {count}", strategy=strategy, num_bytes=needed))
            break  # with shards in host memory it takes no more of them
    yield from found or enough(_several_settings(subject))


def _fewer_tokens(subject: Subject) -> Iterator[tuple[str, Subject]]:
    """Powers of two down from the present number."""
    for exponent in range(20, 5, -1):
        if 2**exponent < subject.setup.tokens:
            yield f"--tokens-per-micro-batch {2**exponent}", subject.changed(tokens=2**exponent)


def _other_settings(subject: Subject) -> Iterator[tuple[str, Subject]]:
    if not subject.setup.activation_checkpointing:
        yield "--activation-checkpointing", subject.changed(activation_checkpointing=True)
    for method in _leaner_methods(subject):
        yield f"--method {method}", subject.changed(method=method)


def _several_settings(subject: Subject) -> Iterator[tuple[str, Subject]]:
    tokens = min(subject.setup.tokens, FEW_TOKENS)
    words = f"--activation-checkpointing --tokens-per-micro-batch {tokens}"
    yield words, subject.changed(activation_checkpointing=True, tokens=tokens)
    for method in _leaner_methods(subject):
        yield f"--method {method} {words}", subject.changed(method=method, activation_checkpointing=True, tokens=tokens)


def _leaner_methods(subject: Subject) -> tuple[Method, ...]:
    own = subject.setup.method
    return ("qlora",) if own == "lora" else () if own == "qlora" else ADAPTER_METHODS
