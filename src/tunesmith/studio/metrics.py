"""`metrics.jsonl` of a run, followed while it grows: each look reads what was added since the one before.

>>> followed = FollowedMetrics(run / "metrics.jsonl")
>>> seen = followed.look()
>>> seen.steps["loss"][-1], seen.validations["loss"][-1]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tunesmith.studio.readable import Unreadable, number, parse_object, read_content, text

STEP_COLUMNS = ("step", "loss", "learning_rate", "grad_norm", "tokens_per_second", "memory_bytes", "num_tokens", "seconds")
VALIDATION_COLUMNS = ("step", "loss")
MOST_NEW_BYTES = 256 * 1024 * 1024
"""Of one look; more is no log of ours."""
MOST_LINE_BYTES = 1024 * 1024
"""What follows the last newline is a line being written, unless it is longer than this."""

Columns = dict[str, list[float | None]]
"""Column to its values, line by line; None where a line has no finite number."""
Stamp = tuple[int, int, int]
"""Inode, size and time of a file's last change."""
NOTHING: Stamp = (0, 0, 0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Metrics:
    """Steps and validations as they stood at one look."""

    steps: Columns
    validations: Columns
    num_bad_lines: int
    """Lines that are no step and no validation; they are in no column."""
    version: Stamp
    """Inode, size and time of the file; pages draw again when it changes."""

    @property
    def last_step(self) -> int:
        return int(self.steps["step"][-1] or 0) if self.steps["step"] else 0

    @property
    def best_loss(self) -> float | None:
        return min((loss for loss in self.validations["loss"] if loss is not None), default=None)


class FollowedMetrics:
    """One file. Not for several threads at once; what it gives may go anywhere."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._forget()

    def _forget(self) -> None:
        self._columns: dict[str, Columns] = {
            "step": {name: [] for name in STEP_COLUMNS},
            "validation": {name: [] for name in VALIDATION_COLUMNS},
        }
        self._num_bad_lines = 0
        self._offset = 0
        self._seen = self._snapshot(NOTHING)

    def _snapshot(self, version: Stamp) -> Metrics:
        steps, validations = ({name: list(column) for name, column in columns.items()} for columns in self._columns.values())
        return Metrics(steps=steps, validations=validations, num_bad_lines=self._num_bad_lines, version=version)

    def look(self) -> Metrics:
        """Read what was added; a file that was replaced or became shorter, as on resuming, is read anew."""
        try:
            found = self.file.stat()
        except OSError:
            self._forget()
            return self._seen
        now = (found.st_ino, found.st_size, found.st_mtime_ns)
        if now != self._seen.version:
            if found.st_ino != self._seen.version[0] or found.st_size < self._offset:
                self._forget()
            self._read_on()
            self._seen = self._snapshot(now)
        return self._seen

    def _read_on(self) -> None:
        try:
            added = read_content(self.file, start=self._offset, most_bytes=MOST_NEW_BYTES)
        except Unreadable:
            self._num_bad_lines += 1
            return
        end = added.rfind(b"\n") + 1
        for line in added[:end].split(b"\n")[:-1]:
            self._take(line)
        self._offset += end
        if len(added) - end > MOST_LINE_BYTES:  # no line of ours is as long
            self._num_bad_lines += 1
            self._offset += len(added) - end

    def _take(self, line: bytes) -> None:
        try:
            values = parse_object(line, "a line") if len(line) <= MOST_LINE_BYTES else {}
        except Unreadable:
            values = {}
        columns = self._columns.get(text(values, "kind") or "")
        if columns is None or number(values, "step") is None:
            self._num_bad_lines += 1
            return
        for name, column in columns.items():
            column.append(number(values, name))


class Point(NamedTuple):
    """Of a curve."""

    x: float
    y: float


def thin(x: Sequence[float | None], y: Sequence[float | None], most: int = 600) -> list[Point]:
    """A curve with at most `most` points: means of equally many neighbours, lines without a number left out."""
    points = [Point(a, b) for a, b in zip(x, y, strict=True) if a is not None and b is not None]
    size = -(-len(points) // most) if points else 1
    groups = [points[start : start + size] for start in range(0, len(points), size)]
    return [Point(group[-1].x, sum(point.y for point in group) / len(group)) for group in groups]
