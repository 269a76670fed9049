"""Names of benchmarks: four plain ones, and whatever lm-evaluation-harness knows.

    >>> [benchmark.title for benchmark in find_benchmarks(("arc", "hellaswag"), TaskNames.plain())]
    ['ARC-Easy', 'ARC-Challenge', 'HellaSwag']

A benchmark is one score: a task, or a group of tasks whose documents are counted together (MMLU's 57 subjects). Nothing is loaded
here but the harness' index of names.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tunesmith.errors import ConfigError

if TYPE_CHECKING:
    from lm_eval.tasks import TaskManager

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Leaf:
    """One task of the harness: one data set, one way to ask."""

    name: str
    config: Mapping[str, Any]
    """What its YAML says, functions not yet resolved."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Benchmark:
    """What is measured by one number."""

    name: str
    title: str
    metric: str | None
    """The one that decides and that figures are published of; None takes the first of the task's own."""
    leaves: tuple[Leaf, ...]


PLAIN: Mapping[str, tuple[str, ...]] = {
    "arc": ("arc_easy", "arc_challenge"),
    "hellaswag": ("hellaswag",),
    "mmlu": ("mmlu",),
    "truthfulqa": ("truthfulqa_mc1", "truthfulqa_mc2"),
}
"""Plain name to benchmarks. They go before the harness' own names: its tag `truthfulqa` has a generation task, too."""

_KNOWN: Mapping[str, tuple[str, str]] = {
    "arc_easy": ("ARC-Easy", "acc"),
    "arc_challenge": ("ARC-Challenge", "acc_norm"),
    "hellaswag": ("HellaSwag", "acc_norm"),
    "mmlu": ("MMLU", "acc"),
    "truthfulqa_mc1": ("TruthfulQA mc1", "acc"),
    "truthfulqa_mc2": ("TruthfulQA mc2", "acc"),
    "piqa": ("PIQA", "acc_norm"),
    "winogrande": ("WinoGrande", "acc"),
    "openbookqa": ("OpenBookQA", "acc_norm"),
    "sciq": ("SciQ", "acc"),
    "commonsense_qa": ("CommonsenseQA", "acc"),
}
"""Title, and the metric that figures are mostly published of."""

FOUR = ("arc_challenge", "hellaswag", "mmlu", "truthfulqa_mc2")
"""The benchmarks of the four-benchmark average: of ARC the Challenge set, of TruthfulQA mc2, as on the first Open LLM Leaderboard."""
_FOLDERS = ("arc", "hellaswag", "mmlu/default", "truthfulqa")
"""Of the harness, where the plain names are: reading all 14,000 of its tasks takes a quarter of a minute."""


class TaskNames:
    """The harness' index: names of tasks, groups and tags."""

    def __init__(self, manager: TaskManager) -> None:
        self.manager = manager

    @classmethod
    def plain(cls) -> TaskNames:
        """The plain names' tasks alone."""
        from pathlib import Path

        from lm_eval import tasks

        folder = Path(str(tasks.__file__)).parent
        return cls(tasks.TaskManager(include_path=[folder / name for name in _FOLDERS], include_defaults=False))

    @classmethod
    def for_names(cls, names: Sequence[str], say: Say) -> TaskNames:
        """The plain ones where they suffice, else all that the harness has."""
        plain = cls.plain()
        if all(name in PLAIN or name in plain.manager.task_index for name in names):
            return plain
        from lm_eval.tasks import TaskManager

        say("reading the names of all of lm-evaluation-harness' tasks")
        return cls(TaskManager())

    def leaves(self, name: str) -> Iterator[Leaf]:
        """The tasks behind a name, in the harness' order."""
        entry = self.manager.task_index[name]
        kind, config = entry.kind.name, entry.cfg or {}
        if kind == "TAG":
            members: list[Any] = sorted(entry.tags)
        elif kind == "GROUP":
            members = config["task"] if isinstance(config["task"], list) else [config["task"]]
        else:
            yield Leaf(name=name, config=config)
            return
        for member in members:
            if not isinstance(member, str) or member not in self.manager.task_index:
                raise _unsupported(name)
            yield from self.leaves(member)

    def is_tag(self, name: str) -> bool:
        """Whether the name is a mere label of tasks, which have no score in common."""
        return bool(self.manager.task_index[name].kind.name == "TAG")

    def __contains__(self, name: str) -> bool:
        return name in self.manager.task_index

    def nearest(self, name: str) -> list[str]:
        """Names like this one, the plain ones first."""
        own = difflib.get_close_matches(name.lower(), PLAIN, n=1, cutoff=0.5)
        return list(dict.fromkeys([*own, *difflib.get_close_matches(name.lower(), self.manager.all_tasks, n=3)]))


def _unsupported(name: str) -> ConfigError:
    return ConfigError(
        "--tasks",
        f"the group {name} changes the tasks it is made of",
        expected="a task, or a group of plain tasks",
        remedy="name its tasks one by one, or run it with lm_eval itself",
    )


def find_benchmarks(names: Sequence[str], index: TaskNames) -> tuple[Benchmark, ...]:
    """What the names mean, each benchmark once. A tag gives a benchmark for each of its tasks, a group is one.

    Raises:
        ConfigError: a name is unknown, or a group cannot be run this way.
    """
    found: dict[str, Benchmark] = {}
    for name in names:
        for part in PLAIN.get(name) or _parts(name, index):
            title, metric = _KNOWN.get(part, (part, None))
            found[part] = Benchmark(name=part, title=title, metric=metric, leaves=tuple(index.leaves(part)))
    return tuple(found.values())


def _parts(name: str, index: TaskNames) -> list[str]:
    if name not in index:
        near = index.nearest(name)
        remedy = f"perhaps you mean {' or '.join(near)}" if near else "see `lm_eval ls tasks` for all names"
        raise ConfigError(
            "--tasks", f"there is no benchmark {name!r}", expected=f"{', '.join(PLAIN)}, or a task of lm-evaluation-harness", remedy=remedy
        )
    return [leaf.name for leaf in index.leaves(name)] if index.is_tag(name) else [name]
