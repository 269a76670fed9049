"""One pass of all checks over the examples, in one process or several; the findings are the same either way.

findings = run_checks(examples, processes=2, context=CheckContext(max_tokens=2048))
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import NamedTuple

from tunesmith.data.checks.finding import SEVERITIES, Check, CheckContext, Finding
from tunesmith.data.checks.registry import default_checks, find_in_all, make_checks, needs_neighbours, require_checks
from tunesmith.data.comparing.near import Positions
from tunesmith.data.comparing.neighbours import Collected, Neighbours, Signed, Signer
from tunesmith.types import Example
from tunesmith.workers import Workers

SLICE = 2_000
"""Examples that a process looks at before its checks are merged."""


class Looked(NamedTuple):
    """What was seen."""

    findings: list[Finding]
    """The worst first."""
    near: Neighbours | None
    """None where it was not looked for."""


def run_checks(
    examples: Sequence[Example],
    names: Collection[str] | None = None,
    *,
    processes: int = 1,
    context: CheckContext,
    near: Neighbours | None = None,
) -> list[Finding]:
    """Look at every example once and say what was found, worst first.

    Args:
        examples: may be read lazily; positions in `Finding.flagged` are theirs. Other processes are sent slices of it.
        names: of the catalogue; None runs those that run by default.
        processes: at most; few examples are looked at by this one alone.
        context: what the checks may need to know.
        near: which examples are nearly the same (`data.neighbours`), where that is known already; else it is looked for when a check
            needs it and `context.threshold` is below 1.

    Raises:
        ConfigError: a name is not in the catalogue, or a check lacks a library.
    """
    names = default_checks() if names is None else names
    require_checks(names)
    wants_near = near is None and needs_neighbours(names) and context.threshold < 1
    with Workers(processes) as workers:
        return look_at(examples, names, workers, context=context, near=near, wants_near=wants_near).findings


def look_at(
    examples: Sequence[Example],
    names: Collection[str],
    workers: Workers,
    *,
    context: CheckContext,
    near: Neighbours | None = None,
    wants_near: bool,
    sample: Positions | None = None,
) -> Looked:
    """As `run_checks`; each example is read once for all checks and for the search for near ones.

    Args:
        examples: as there.
        names: as there, all of them known.
        workers: share the work.
        context: as there.
        near: as there.
        wants_near: look for near examples.
        sample: positions of the examples in which templates are looked for; None: evenly spaced ones.
    """
    checks = make_checks(names, context)
    signer = Signer.of(examples, context.threshold, sample) if wants_near else None
    with ExitStack() as stack:
        collected = None if signer is None else stack.enter_context(Collected(signer))
        for seen in workers.map(_Look(names=tuple(names), context=context, signer=signer), _slices(examples)):
            for check, part in zip(checks, seen.checks, strict=True):
                check.merge(part)
            if collected is not None and seen.signed is not None:
                collected.add(seen.signed)
        beside = stack.enter_context(ThreadPoolExecutor(1))
        searching = None if collected is None else beside.submit(collected.neighbours, examples)
        found = [finding for check in checks for finding in check.findings()]
        near = near if searching is None else searching.result()
    found += find_in_all(names, examples, context, near)
    return Looked(sorted(found, key=lambda one: (SEVERITIES.index(one.severity), -one.share, one.check, one.sentence)), near)


def _slices(examples: Sequence[Example]) -> Iterator[tuple[int, Sequence[Example]]]:
    return ((start, examples[start : start + SLICE]) for start in range(0, len(examples), SLICE))


class _Seen(NamedTuple):
    """Of one slice."""

    checks: list[Check]
    signed: Signed | None


@dataclass(frozen=True, kw_only=True)
class _Look:
    """All that is done with a slice of the examples, which begins at the first number."""

    names: tuple[str, ...]
    context: CheckContext
    signer: Signer | None

    def __call__(self, piece: tuple[int, Sequence[Example]]) -> _Seen:
        start, examples = piece
        checks = make_checks(self.names, self.context)
        looks = [check.look for check in checks]
        read = list(examples)
        for position, example in enumerate(read, start):
            for look in looks:
                look(position, example)
        return _Seen(checks, None if self.signer is None else self.signer(read))
