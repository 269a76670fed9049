"""One training run, from a prepared data set to a run directory with a model in it.

>>> run = train(TrainConfig(model="smollm2-135m-instruct", data=Path("prepared/faq")), runs_dir=Path("runs"))
>>> run.manifest()["best_loss"]
"""

from __future__ import annotations

import dataclasses
import shutil
import time
from pathlib import Path
from typing import Any, NamedTuple

import torch

from tunesmith.assets import cache_dir
from tunesmith.config import TrainConfig, build
from tunesmith.data.storing.prepared import PreparedData, load_data_of, load_prepared
from tunesmith.distributed.environment import launch_id
from tunesmith.distributed.group import ALONE, Group, current_group, joined
from tunesmith.engine.adapters import save_adapter, save_whole
from tunesmith.engine.attention import packs_faithfully
from tunesmith.engine.kept import BUFFERS
from tunesmith.engine.kernels.native import kind_of_kernels, library
from tunesmith.engine.loading import LoadedModel, choose_device, choose_dtype, dtype_name
from tunesmith.engine.memory import give_back, peak_memory
from tunesmith.engine.parity import refuse_unfaithful
from tunesmith.engine.room import room
from tunesmith.errors import RunError
from tunesmith.files import atomic_directory
from tunesmith.render.preflight import Preflight, run_preflight
from tunesmith.render.renderer import Renderer
from tunesmith.render.token_cache import TokenCache
from tunesmith.runs import RunDirectory, create_run, default_name, open_run, provenance, require_free
from tunesmith.train.checkpoint import Progress, full_disk_named, load_checkpoint, restore_best
from tunesmith.train.defaults import Filled, fill_defaults
from tunesmith.train.estimate import Cost, estimate_cost
from tunesmith.train.fit import require_loadable
from tunesmith.train.forecast import Forecast
from tunesmith.train.foresee import foresee, is_short, own_error
from tunesmith.train.in_group import find_begun, last_checkpoint, open_in_group, require_agreement, require_same_given
from tunesmith.train.loop import Task, run_loop
from tunesmith.train.material import choose_material, kind_of, resolve_objective
from tunesmith.train.micro_batches import choose_tokens_per_micro_batch
from tunesmith.train.objectives import Split, make_objective
from tunesmith.train.observer import Observer, Silent
from tunesmith.train.optimizer import make_optimizer
from tunesmith.train.plan import plan_steps, tokens_per_micro_batch
from tunesmith.train.preferences import prefers_chosen
from tunesmith.train.reference import with_references
from tunesmith.train.start import (
    Start,
    Trainee,
    choose_renderer,
    find_start,
    load_start,
    recorded_start,
    resolve_lora,
    resolve_new_tokens,
)
from tunesmith.train.strategy import choose_strategy, is_spread, load_for, num_sharing, saver_for, trainee_for, write_result
from tunesmith.tuned import stored_renderer

DEFAULT_MAX_LENGTH = 2048
GO_ON = "see what that one said; what was saved stays, and `tunesmith train --resume RUN` goes on from there"


def train(config: TrainConfig, *, runs_dir: Path, name: str | None = None, observer: Observer | None = None) -> RunDirectory:
    """Train a new run.

    Raises:
        PreflightError: the rendering of an example is wrong; nothing was trained.
        DataError, ConfigError, AssetError, RunError: the user's mistakes.
        TrainingError, TrainingInterrupted: see `run_loop`.
    """
    with joined(config.device, remedy=GO_ON) as group:
        observer = observer if observer and group.is_first else Silent()
        begun = group.from_first(lambda: find_begun(runs_dir, name, config))
        if begun:  # by this launch, which lost a process and has started all of them again
            return _resume(begun, observer, group)
        if name:
            group.from_first(lambda: require_free(runs_dir, name))
        return _train_new(config, runs_dir, name, observer, group)


def _train_new(config: TrainConfig, runs_dir: Path, name: str | None, observer: Observer, group: Group) -> RunDirectory:
    ready = get_ready(config, observer, group)
    noun = "windows" if ready.checked.train.has_windows else "examples"
    for sentence in ready.cost.sentences(ready.task.config, len(ready.task.train), noun):
        observer.say(sentence)
    forecast = None
    if config.estimate and group.is_alone and not is_short(ready.task):
        forecast = foresee(ready.task, ready.cost)
        observer.say(forecast.sentence())
    require_agreement(ready.task, ready.data, ready.start)
    name = name or default_name(ready.task.config.data, ready.start.name)
    path = group.from_first(lambda: create_run(runs_dir, name, _record(ready, forecast, config)).path)
    run = open_in_group(path, group)
    with run.locked():
        run.write_renderer_record(ready.renderer.record())
        preflight, validation = ready.checked
        run.write_preflight({"train": preflight.record(), "validation": validation.record() if validation else None})
        observer.show_example(preflight.rendered[0], ready.renderer)
        task = with_references(dataclasses.replace(ready.task, run=run))
        return _run(task, Progress(), ready.start, ready.loaded, ready.data)


def estimate(config: TrainConfig, *, observer: Observer | None = None) -> tuple[Ready, Forecast]:
    """Make ready what `train` would train, and measure what it would take; nothing is written but the cache.

    Raises:
        PreflightError, DataError, ConfigError, AssetError, RunError: as `train`.
        TrainingError: a loss or a gradient is not finite.
    """
    ready = get_ready(config, observer or Silent(), ALONE)
    return ready, foresee(ready.task, ready.cost)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ready:
    """A run up to its first step; nothing of it is written yet."""

    task: Task
    """Without a directory, and not having asked the starting network anything."""
    data: PreparedData
    start: Start
    loaded: LoadedModel
    renderer: Renderer
    checked: _Checked
    cost: Cost
    filled: Filled
    """The settings that were left open, with the reasons for what was chosen."""


UNWRITTEN = RunDirectory(Path("unwritten"))
"""Of a task that is not, or not yet, a run."""


def get_ready(config: TrainConfig, observer: Observer, group: Group) -> Ready:
    """Load, resolve, check and plan all that a new run needs. Ranks of a group do the same."""
    data = load_prepared(config.data)
    require_same_given(data, config, group)
    config = resolve_objective(config, kind_of(data), observer.say)
    data = choose_material(data, config, observer.say)
    start = find_start(config.model, observer.say)
    config = config.model_copy(update={"lora": resolve_lora(start, config), "new_tokens": resolve_new_tokens(start, config)})
    dtype = choose_dtype(config.dtype, choose_device(config.device))
    config = config.model_copy(update={"strategy": choose_strategy(start.directory, config, dtype, group)})
    if group.is_alone and config.strategy == "fsdp":
        observer.say("one process holds the whole model; --strategy fsdp spreads it over two or more (--processes N)")
    if not is_spread(config, group):
        sharing = num_sharing(choose_device(config.device), group)
        require_loadable(start.directory, config, dtype, room(torch.device("cpu"), sharing), sharing)
    loaded = load_for(start, config, group)
    if reason := library().reason:
        observer.say(f"plain torch instead of compiled kernels, which are faster on a CPU: {reason}")
    refuse_unfaithful(loaded.network, observer.say)
    renderer = choose_renderer(start, config.template, data.template, loaded)
    is_size_open = config.tokens_per_micro_batch is None and config.estimate and group.is_alone
    config = _resolve(config, renderer, loaded)
    checked = _check(data, renderer, config, observer)
    filled = fill_defaults(config, objective=config.objective, num_examples=len(checked.train.rendered))
    config = filled.config
    trainee = trainee_for(start, loaded, config, group)
    steps = plan_steps(_split(checked.train).lengths, config)
    task = _task(config, UNWRITTEN, trainee, checked, steps, observer, group)
    if is_size_open:
        size = choose_tokens_per_micro_batch(task, start.name)
        task = dataclasses.replace(task, config=config.model_copy(update={"tokens_per_micro_batch": size}))
    cost = estimate_cost(trainee, checked.train, steps, task.config)
    return Ready(task=task, data=data, start=start, loaded=loaded, renderer=renderer, checked=checked, cost=cost, filled=filled)


def resume(path: Path, *, observer: Observer | None = None) -> RunDirectory:
    """Go on with an interrupted run from its last checkpoint, with the settings it was started with.

    Raises:
        RunError: the run is complete, another process is at it, or its data set, its model's weights or tokenizer have changed since.
    """
    with joined(open_run(path).record()["config"]["device"], remedy=GO_ON) as group:
        return _resume(path, observer if observer and group.is_first else Silent(), group)


def _resume(path: Path, observer: Observer, group: Group) -> RunDirectory:
    run = open_in_group(path, group)
    with run.locked():
        return _go_on(run, observer, group)


def _go_on(run: RunDirectory, observer: Observer, group: Group) -> RunDirectory:
    path = run.path
    if run.is_complete:
        raise RunError(str(path), "the run is complete", expected="an interrupted run", remedy=f"continue from it with --model {path}")
    record = run.record()
    config = build(TrainConfig, record["config"], place=f"{path}/run.json")
    data = load_data_of(run)
    config = resolve_objective(config, kind_of(data), observer.say)  # open in runs of earlier versions
    data = choose_material(data, config, observer.say)
    start = recorded_start(record)
    loaded = load_for(start, config, group)
    packs_faithfully(loaded.network, observer.say)  # found out in float32, as when the run began
    renderer = stored_renderer(run, loaded.tokenizer)
    checked = _check(data, renderer, config, observer)
    trainee = trainee_for(start, loaded, config, group)
    steps = plan_steps(_split(checked.train).lengths, config)
    task = _task(config, run, trainee, checked, steps, observer, group)
    require_agreement(task, data, start)
    task = with_references(task)
    run.remove_leftovers()
    checkpoint = last_checkpoint(run, group)
    progress = load_checkpoint(checkpoint, trainee.weights, task.optimizer) if checkpoint else Progress()
    run.drop_metrics_after(progress.step)
    if (threads := torch.get_num_threads()) != record["threads"]:
        observer.say(f"{threads} threads instead of the {record['threads']} it began with: equal to it, but not to the last bit")
    if (size := group.size) != record.get("processes", 1):
        observer.say(f"{size} processes instead of {record.get('processes', 1)}: equal to it, but not to the last bit")
    if (kernels := kind_of_kernels()) != record.get("kernels", "plain torch"):
        observer.say(f"{kernels} instead of the kernels it began with: equal to it, but not to the last bit")
    observer.say(f"resuming {path} after step {progress.step} of {len(steps)}")
    return _run(task, progress, start, loaded, data)


def _resolve(config: TrainConfig, renderer: Renderer, loaded: LoadedModel) -> TrainConfig:
    """Fill in what the settings leave to the method, the data and the model."""
    return config.model_copy(
        update={
            "data": config.data.resolve(),
            "template": renderer.template.name,
            "max_length": min(config.max_length or DEFAULT_MAX_LENGTH, loaded.context_length),
            "tokens_per_micro_batch": tokens_per_micro_batch(config, choose_device(config.device).type),
            "dtype": dtype_name(choose_dtype(config.dtype, choose_device(config.device))),
        }
    )


class _Checked(NamedTuple):
    train: Preflight
    validation: Preflight | None
    """None where the data set has no such split."""


def _check(data: PreparedData, renderer: Renderer, config: TrainConfig, observer: Observer) -> _Checked:
    """Preflight of the training and the validation split."""
    assert config.max_length is not None
    limits: dict[str, Any] = {"max_length": config.max_length, "over_length": config.over_length}
    limits |= {"group": current_group()}
    train = run_preflight(data.train, renderer, **limits, cache=_token_cache(data, "train", config))
    observer.say(f"preflight passed: {train.summary()}")
    validation = None
    if data.validation:
        cache = _token_cache(data, "validation", config)
        validation = run_preflight(data.validation, renderer, **limits, split="validation", cache=cache)
    if validation and (validation.dropped or validation.cut):
        observer.say(f"validation: {validation.summary()}")
    return _Checked(train, validation)


FEWEST_TO_CACHE = 2_000
"""Examples; fewer are rendered in a second."""


def _token_cache(data: PreparedData, split: str, config: TrainConfig) -> TokenCache | None:
    """Of a large split. What is taken of its examples depends on the objective (`choose_material`)."""
    if len(getattr(data, split)) < FEWEST_TO_CACHE:
        return None
    return TokenCache(cache_dir() / "tokens", f"{data.manifest['splits'][split]['sha256']} {config.objective}")


def _task(
    config: TrainConfig,
    run: RunDirectory,
    trainee: Trainee,
    checked: _Checked,
    steps: list[list[int]],
    observer: Observer,
    group: Group,
) -> Task:
    return Task(
        config=config,
        run=run,
        trainee=trainee,
        optimizer=make_optimizer(trainee.weights, config),
        objective=make_objective(config),
        train=_split(checked.train),
        validation=_split(checked.validation),
        steps=steps,
        observer=observer,
        group=group,
        saver=saver_for(trainee, group),
    )


def _split(preflight: Preflight | None) -> Split:
    return Split(rendered=preflight.rendered, rejected=preflight.rejected) if preflight else Split(rendered=())


def _record(ready: Ready, forecast: Forecast | None, given: TrainConfig) -> dict[str, Any]:
    config, data, start = ready.task.config, ready.data, ready.start
    return {
        **provenance(),
        "kind": "train",
        "config": config.model_dump(mode="json"),
        "model": start.record(),
        "parent": str(start.parent.path.resolve()) if start.parent else None,
        "data": {"directory": str(data.directory.resolve()), "fingerprint": data.fingerprint},
        "defaults": ready.filled.record(),
        "cost": ready.cost.record(),
        "estimate": forecast.record() if forecast else None,
        "threads": torch.get_num_threads(),
        "processes": ready.task.group.size,
        "launch": launch_id(),
        "given": given.model_dump(mode="json"),
        "kernels": kind_of_kernels(),
    }


def _run(task: Task, progress: Progress, start: Start, loaded: LoadedModel, data: PreparedData) -> RunDirectory:
    """The loop and what follows it; what it leaves on disk when it fails can be resumed."""
    with full_disk_named(task.run, "writing to the run"):
        return _finish(task, run_loop(task, progress), start, loaded, data)


def _finish(task: Task, progress: Progress, start: Start, loaded: LoadedModel, data: PreparedData) -> RunDirectory:
    """Restore the best weights, write the model, and last the manifest."""
    run, trainee = task.run, task.trainee
    task.optimizer.state.clear()  # its moments are larger than the weights, and writing needs room
    BUFFERS.clear()
    give_back()
    if not task.saver:
        restore_best(run, progress, trainee.weights)
    if task.group.is_first:
        _write_model(task, progress, start, loaded)
    peaks = task.group.gather(peak_memory(trainee.network.device))
    peak = max(peaks)
    run.write_manifest(
        {
            "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "method": task.config.method,
            "objective": task.config.objective,
            "trained_on_text": kind_of(data) == "text",
            "num_steps": progress.step,
            "best_step": progress.best_step,
            "best_loss": progress.best_loss,
            "best_validation": progress.best_figures,
            "num_tokens": progress.tokens,
            "num_supervised": progress.supervised,
            "seconds": round(progress.seconds, 2),
            "tokens_per_second": round(progress.tokens / progress.seconds, 1),
            "peak_memory_bytes": peak,
            "peak_memory_bytes_of_ranks": peaks,
            "estimate": own_error(run.record().get("estimate"), task, progress, peak),
        }
    )
    kept = (
        f"best validation loss {progress.best_loss:.4f} at step {progress.best_step}{_accuracy(task, progress)}"
        if progress.best_loss is not None
        else "last step kept"
    )
    task.observer.say(
        f"{progress.tokens:,} tokens in {progress.seconds:.0f} s ({progress.tokens / progress.seconds:.0f} tokens/s), "
        f"peak memory {peak / 1e9:.2f} GB{' of a process' if len(peaks) > 1 else ''}; {kept}"
    )
    task.group.barrier()  # the run is whole for whoever goes on with it
    return run


def _write_model(task: Task, progress: Progress, start: Start, loaded: LoadedModel) -> None:
    """An adapter in PEFT's format, or a folder `from_pretrained` loads; the tokenizer beside it."""
    if task.run.model_dir.exists():  # an earlier attempt got this far; the weights are the same
        shutil.rmtree(task.run.model_dir)
    with atomic_directory(task.run.model_dir) as staging:
        masters = task.trainee.weights.state()
        if task.saver:
            write_result(task.run, progress, task.trainee, start, staging)
        elif task.trainee.peft_network is not None:
            save_adapter(task.trainee.peft_network, masters, staging)
        else:
            save_whole(load_start(start, task.config).network, masters, staging, task.trainee.new_token_ids)
        loaded.tokenizer.save_pretrained(staging)


def _accuracy(task: Task, progress: Progress) -> str:
    """For the last sentence: what share of the validation split the kept weights judge as the data do."""
    figures = progress.best_figures
    text = f", reward accuracy {figures['reward_accuracy']:.0%}" if "reward_accuracy" in figures else ""
    if "preference_accuracy" in figures and task.validation.reference is not None:
        before = float(prefers_chosen(task.validation.reference.nats, task.validation.num_tokens).mean())
        text += f", more likely than the rejected answer is the chosen one in {figures['preference_accuracy']:.0%} (before: {before:.0%})"
    return text
