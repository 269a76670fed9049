"""Benchmarks of one or more models: the same documents for all, kept as they are answered, compared pair by pair.

OUT/report.json  report.html        the latest report
OUT/MODEL-…/TASK/                   see `answers`
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

from tunesmith.config import BenchmarkConfig
from tunesmith.data.storing.prepared import load_data_of
from tunesmith.distributed.group import Group, joined
from tunesmith.errors import DataError, RunError
from tunesmith.evaluate.benchmarks.answers import ask
from tunesmith.evaluate.benchmarks.catalog import FOUR, TaskNames, find_benchmarks
from tunesmith.evaluate.benchmarks.comparison import TaskComparison, compare_average, compare_models
from tunesmith.evaluate.benchmarks.harness import TunesmithLM
from tunesmith.evaluate.benchmarks.models import Contestant, Opener, find_contestants
from tunesmith.evaluate.benchmarks.overlap import Overlap, find_overlap
from tunesmith.evaluate.benchmarks.page import render_html
from tunesmith.evaluate.benchmarks.records import versions
from tunesmith.evaluate.benchmarks.report import BenchmarkReport, BenchmarkScores
from tunesmith.evaluate.benchmarks.scores import Outcome, Place, Score, require_same_documents
from tunesmith.evaluate.benchmarks.sources import find_source
from tunesmith.evaluate.benchmarks.tasks import LoadedBenchmark, load_benchmark
from tunesmith.evaluate.benchmarks.through_vllm import VllmOpener, launch_beside, require_written_answers, vllm_models
from tunesmith.evaluate.run_page import refresh_pages
from tunesmith.evaluate.through_vllm import require_vllm
from tunesmith.files import write_json, write_text
from tunesmith.runs import RunDirectory, is_run

Say = Callable[[str], None]
OnProgress = Callable[[str, int, int], None]
Outcomes = Mapping[str, Mapping[str, Outcome]]
"""By benchmark, then by model."""


def run_benchmarks(
    references: Sequence[str],
    config: BenchmarkConfig,
    out: Path,
    *,
    dtype: str = "auto",
    device: str = "auto",
    say: Say | None = None,
    on_progress: OnProgress | None = None,
) -> BenchmarkReport:
    """Ask every model every benchmark, and write the report; what an interrupted call has done already is used.

    Ranks of a group share the asking; the first one writes.

    Args:
        references: run directories (each brings its base model) and models, as `open_model` takes them.
        out: where answers, records and report go.

    Raises:
        ConfigError: a benchmark is unknown or cannot be run; vLLM is not installed, or is asked for what it cannot do.
        DataError: its documents are not there.
        AssetError: a model or the wheel is not there.
        RunError: a run has not finished.
    """
    with joined(device) as group:
        say, on_progress = (say or _ignore, on_progress or _ignore) if group.is_first else (_ignore, _ignore)
        return _run(references, config, out, dtype, device, say, on_progress, group)


def _run(
    references: Sequence[str],
    config: BenchmarkConfig,
    out: Path,
    dtype: str,
    device: str,
    say: Say,
    on_progress: OnProgress,
    group: Group,
) -> BenchmarkReport:
    if config.engine == "vllm":
        require_vllm(group)
    benchmarks = find_benchmarks(config.tasks, TaskNames.for_names(config.tasks, say))
    contestants = find_contestants(references, say)
    index, source = TaskNames.for_names([leaf.name for one in benchmarks for leaf in one.leaves], say), find_source(config.data, say)
    loaded = [load_benchmark(benchmark, index, source, config, say) for benchmark in benchmarks]
    outcomes: dict[str, dict[str, Outcome]] = {one.benchmark.name: {} for one in loaded}
    with closing(_opener(contestants, loaded, config, out, dtype, device, say)) as opener:
        for contestant in contestants:
            with opener.opened(contestant) as opened:
                folder = out / contestant.folder(opened)
                for one in loaded:
                    outcome = _ask_all(opened.model, one, contestant.label, config, folder, on_progress)
                    outcomes[one.benchmark.name][contestant.label] = outcome
    for of_benchmark in outcomes.values():
        require_same_documents(of_benchmark)
    report = BenchmarkReport(
        created=time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        settings=config.model_dump(mode="json"),
        data=source.words,
        versions=versions(),
        dtype=opened.dtype,
        device=opened.device,
        models=tuple(contestant.label for contestant in contestants),
        benchmarks=_scores(loaded, outcomes, _overlaps(contestants, outcomes, config, say), config),
        averages=_averages(contestants, outcomes, config),
        comparisons=_compare(contestants, outcomes, config),
    )
    group.from_first(lambda: _write(out, report))
    return report


def _opener(
    contestants: Sequence[Contestant],
    loaded: Sequence[LoadedBenchmark],
    config: BenchmarkConfig,
    out: Path,
    dtype: str,
    device: str,
    say: Say,
) -> Opener | VllmOpener:
    """Refuses before anything is started."""
    if config.engine == "tunesmith":
        return Opener(dtype=dtype, device=device, say=say)
    require_written_answers(loaded)
    launch = launch_beside(out, dtype=dtype, options=config.vllm_options)
    return VllmOpener(vllm_models(contestants, say), launch, device=device, say=say)


def _ask_all(
    model: TunesmithLM, loaded: LoadedBenchmark, label: str, config: BenchmarkConfig, folder: Path, on_progress: OnProgress
) -> Outcome:
    stage, done, results = f"{label}: {loaded.benchmark.title}", 0, []
    for task in loaded.tasks:
        results.append(ask(model, task, config, folder, partial(_progressed, on_progress, stage, done, loaded.num_chosen)))
        done += len(task.chosen)
    return Outcome(benchmark=loaded.benchmark, results=tuple(results))


def _progressed(on_progress: OnProgress, stage: str, before: int, total: int, done: int) -> None:
    on_progress(stage, before + done, total)


def _overlaps(contestants: Sequence[Contestant], outcomes: Outcomes, config: BenchmarkConfig, say: Say) -> dict[str, list[Overlap]]:
    """By benchmark, what of it stands in each run's training data."""
    found: dict[str, list[Overlap]] = {name: [] for name in outcomes}
    documents = {name: next(iter(own.values())).records for name, own in outcomes.items()}
    for contestant in contestants:
        if contestant.run is None or contestant.is_base:
            continue
        try:
            examples = load_data_of(contestant.run).train
        except (DataError, RunError) as error:  # the scores stand without it
            say(f"not looked for the benchmarks in what {contestant.label} was trained on: {error}")
            continue
        for name, places in find_overlap(documents, examples, config.overlap_words).items():
            found[name].append(_overlap(contestant, outcomes[name], places, config))
    return found


def _overlap(contestant: Contestant, outcomes: Mapping[str, Outcome], places: set[Place], config: BenchmarkConfig) -> Overlap:
    asked = [label for label in (contestant.against, contestant.label) if label]
    scores = {label: outcomes[label].score(outcomes[label].metrics[0], config, without=places) for label in asked} if places else {}
    return Overlap(
        run=contestant.label,
        num_documents=len(outcomes[contestant.label].records),
        num_overlapping=len(places),
        without={label: score for label, score in scores.items() if score},
    )


def _scores(
    loaded: Sequence[LoadedBenchmark], outcomes: Outcomes, overlaps: Mapping[str, list[Overlap]], config: BenchmarkConfig
) -> tuple[BenchmarkScores, ...]:
    return tuple(
        BenchmarkScores(
            name=one.benchmark.name,
            title=one.benchmark.title,
            num_documents=one.num_chosen,
            num_all=one.num_documents,
            num_tasks=len(one.tasks),
            num_fewshot=tuple(sorted({task.num_fewshot for task in one.tasks})),
            scores={label: _all_scores(outcome, config) for label, outcome in outcomes[one.benchmark.name].items()},
            subtasks=_subtasks(outcomes[one.benchmark.name]) if len(one.tasks) > 1 else {},
            overlaps=tuple(overlaps[one.benchmark.name]),
        )
        for one in loaded
    )


def _all_scores(outcome: Outcome, config: BenchmarkConfig) -> tuple[Score, ...]:
    if not outcome.metrics:
        found = "its tasks have no metric in common"
        raise DataError(outcome.benchmark.name, found, expected="a score", remedy="name its tasks one by one")
    return tuple(score for metric in outcome.metrics if (score := outcome.score(metric, config)))


def _subtasks(outcomes: Mapping[str, Outcome]) -> dict[str, dict[str, float]]:
    table: dict[str, dict[str, float]] = {}
    for label, outcome in outcomes.items():
        for result in outcome.results:
            table.setdefault(result.name, {})[label] = result.scores[outcome.metrics[0]]
    return table


def _averages(contestants: Sequence[Contestant], outcomes: Outcomes, config: BenchmarkConfig) -> dict[str, float]:
    if not outcomes.keys() >= set(FOUR):
        return {}
    return {one.label: math.fsum(_deciding(outcomes[name][one.label], config) for name in FOUR) / len(FOUR) for one in contestants}


def _deciding(outcome: Outcome, config: BenchmarkConfig) -> float:
    score = outcome.score(outcome.metrics[0], config)
    assert score is not None, "only without documents"
    return score.value


def _compare(contestants: Sequence[Contestant], outcomes: Outcomes, config: BenchmarkConfig) -> tuple[TaskComparison, ...]:
    found: list[TaskComparison] = []
    for contestant in contestants:
        if contestant.against:
            own = compare_models(contestant.label, contestant.against, outcomes, config)
            average = compare_average(own, config)
            found += [*own, *([average] if average else [])]
    return tuple(found)


def _write(out: Path, report: BenchmarkReport) -> None:
    out.mkdir(parents=True, exist_ok=True)
    write_text(out / "report.html", render_html(report))
    write_json(out / "report.json", report.to_json())
    if is_run(out.parent) and (run := RunDirectory(out.parent)).benchmarks_dir == out:
        refresh_pages(run)


def _ignore(*_: object) -> None:
    """Nobody is watching."""
