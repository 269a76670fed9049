"""One training run, from a prepared data set to a run directory with a model in it.

>>> run = train(TrainConfig(model="smollm2-135m-instruct", data=Path("prepared/faq")), runs_dir=Path("runs"))
>>> run.manifest()["best_loss"]
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from tunesmith.config import DEFAULT_LEARNING_RATES, TrainConfig, build
from tunesmith.data.prepared import PreparedData, load_data_of, load_prepared
from tunesmith.engine.adapters import save_adapter, save_whole
from tunesmith.engine.loading import LoadedModel, choose_device, choose_dtype, dtype_name
from tunesmith.engine.memory import peak_memory
from tunesmith.engine.parity import refuse_unfaithful
from tunesmith.errors import DataError, RunError
from tunesmith.files import atomic_directory
from tunesmith.render.preflight import Preflight, run_preflight
from tunesmith.render.renderer import Renderer
from tunesmith.runs import RunDirectory, create_run, default_name, open_run, provenance, require_free
from tunesmith.train.checkpoint import Progress, full_disk_named, load_checkpoint, restore_best
from tunesmith.train.estimate import Cost, estimate_cost
from tunesmith.train.loop import Task, make_optimizer, run_loop
from tunesmith.train.observer import Observer, Silent
from tunesmith.train.plan import plan_steps, tokens_per_micro_batch
from tunesmith.train.start import (
    Start,
    Trainee,
    choose_renderer,
    find_start,
    load_start,
    make_trainee,
    recorded_start,
    resolve_lora,
)
from tunesmith.tuned import stored_renderer
from tunesmith.types import Example

DEFAULT_MAX_LENGTH = 2048


def train(config: TrainConfig, *, runs_dir: Path, name: str | None = None, observer: Observer | None = None) -> RunDirectory:
    """Train a new run.

    Raises:
        PreflightError: the rendering of an example is wrong; nothing was trained.
        DataError, ConfigError, AssetError, RunError: the user's mistakes.
        TrainingError, TrainingInterrupted: see `run_loop`.
    """
    observer = observer or Silent()
    if name:
        require_free(runs_dir, name)
    data = load_prepared(config.data)
    start = find_start(config.model, observer.say)
    config = config.model_copy(update={"lora": resolve_lora(start, config)})
    loaded = load_start(start, config)
    refuse_unfaithful(loaded.network)
    renderer = choose_renderer(start, config.template, data.template, loaded)
    config = _resolve(config, renderer, loaded)
    preflight, validation = _check(data, renderer, config, observer)
    trainee = make_trainee(start, loaded, config)
    steps = plan_steps([len(r.token_ids) for r in preflight.rendered], config)
    cost = estimate_cost(trainee, preflight, steps, config)
    run = create_run(runs_dir, name or default_name(config.data, start.name), _record(config, data, start, cost))
    run.write_renderer_record(renderer.record())
    run.write_preflight({"train": preflight.record(), "validation": validation.record() if validation else None})
    for sentence in cost.sentences(config, len(preflight.rendered)):
        observer.say(sentence)
    observer.show_example(preflight.rendered[0], renderer)
    task = _task(config, run, trainee, preflight, validation, steps, observer)
    return _run(task, Progress(), start, loaded, data)


def resume(path: Path, *, observer: Observer | None = None) -> RunDirectory:
    """Go on with an interrupted run from its last checkpoint, with the settings it was started with.

    Raises:
        RunError: the run is complete, or its data set or its model's tokenizer have changed since.
    """
    observer = observer or Silent()
    run = open_run(path)
    if run.is_complete:
        raise RunError(str(path), "the run is complete", expected="an interrupted run", remedy=f"continue from it with --model {path}")
    record = run.record()
    config = build(TrainConfig, record["config"], place=f"{path}/run.json")
    data = load_data_of(run)
    start = recorded_start(record)
    loaded = load_start(start, config)
    renderer = stored_renderer(run, loaded.tokenizer)
    preflight, validation = _check(data, renderer, config, observer)
    trainee = make_trainee(start, loaded, config)
    steps = plan_steps([len(r.token_ids) for r in preflight.rendered], config)
    task = _task(config, run, trainee, preflight, validation, steps, observer)
    run.remove_leftovers()
    checkpoints = run.checkpoints()
    progress = load_checkpoint(checkpoints[-1], trainee.weights, task.optimizer) if checkpoints else Progress()
    run.drop_metrics_after(progress.step)
    if (threads := torch.get_num_threads()) != record["threads"]:
        observer.say(f"{threads} threads instead of the {record['threads']} it began with: equal to it, but not to the last bit")
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
            "learning_rate": config.learning_rate or DEFAULT_LEARNING_RATES[config.method],
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
    _is_text(data.train)  # refuses a mixture
    limits: dict[str, Any] = {"max_length": config.max_length, "over_length": config.over_length}
    train = run_preflight(data.train, renderer, **limits)
    observer.say(f"preflight passed: {train.summary()}")
    validation = run_preflight(data.validation, renderer, **limits, split="validation") if data.validation else None
    if validation and (validation.dropped or validation.cut):
        observer.say(f"validation: {validation.summary()}")
    return _Checked(train, validation)


def _task(
    config: TrainConfig,
    run: RunDirectory,
    trainee: Trainee,
    preflight: Preflight,
    validation: Preflight | None,
    steps: list[list[int]],
    observer: Observer,
) -> Task:
    return Task(
        config=config,
        run=run,
        trainee=trainee,
        optimizer=make_optimizer(trainee, config),
        train=preflight.rendered,
        validation=validation.rendered if validation else (),
        steps=steps,
        observer=observer,
    )


def _record(config: TrainConfig, data: PreparedData, start: Start, cost: Cost) -> dict[str, Any]:
    return {
        **provenance(),
        "kind": "train",
        "config": config.model_dump(mode="json"),
        "model": start.record(),
        "parent": str(start.parent.path.resolve()) if start.parent else None,
        "data": {"directory": str(data.directory.resolve()), "fingerprint": data.fingerprint},
        "cost": cost.record(),
        "threads": torch.get_num_threads(),
    }


def _run(task: Task, progress: Progress, start: Start, loaded: LoadedModel, data: PreparedData) -> RunDirectory:
    """The loop and what follows it; what it leaves on disk when it fails can be resumed."""
    with full_disk_named(task.run, "writing to the run"):
        return _finish(task, run_loop(task, progress), start, loaded, data)


def _finish(task: Task, progress: Progress, start: Start, loaded: LoadedModel, data: PreparedData) -> RunDirectory:
    """Restore the best weights, write the model, and last the manifest."""
    run, trainee = task.run, task.trainee
    restore_best(run, progress, trainee.weights)
    _write_model(task, start, loaded)
    peak = peak_memory(trainee.network.device)
    run.write_manifest(
        {
            "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "method": task.config.method,
            "trained_on_text": _is_text(data.train),
            "num_steps": progress.step,
            "best_step": progress.best_step,
            "best_loss": progress.best_loss,
            "num_tokens": progress.tokens,
            "num_supervised": progress.supervised,
            "seconds": round(progress.seconds, 2),
            "tokens_per_second": round(progress.tokens / progress.seconds, 1),
            "peak_memory_bytes": peak,
        }
    )
    kept = (
        f"best validation loss {progress.best_loss:.4f} at step {progress.best_step}"
        if progress.best_loss is not None
        else "last step kept"
    )
    task.observer.say(
        f"{progress.tokens:,} tokens in {progress.seconds:.0f} s ({progress.tokens / progress.seconds:.0f} tokens/s), "
        f"peak memory {peak / 1e9:.2f} GB; {kept}"
    )
    return run


def _write_model(task: Task, start: Start, loaded: LoadedModel) -> None:
    """An adapter in PEFT's format, or a folder `from_pretrained` loads; the tokenizer beside it."""
    if task.run.model_dir.exists():  # an earlier attempt got this far; the weights are the same
        shutil.rmtree(task.run.model_dir)
    with atomic_directory(task.run.model_dir) as staging:
        masters = {name: master.cpu() for name, master in task.trainee.weights.state().items()}
        if task.trainee.peft_network is not None:
            save_adapter(task.trainee.peft_network, masters, staging)
        else:
            save_whole(load_start(start, task.config).network, masters, staging)
        loaded.tokenizer.save_pretrained(staging)


def _is_text(examples: Sequence[Example]) -> bool:
    texts = sum(example.text is not None for example in examples)
    if texts not in (0, len(examples)):
        raise DataError(
            "the training split",
            f"{texts} raw texts among {len(examples)} examples",
            expected="raw texts or conversations, not both",
            remedy="prepare them as two data sets",
        )
    return texts > 0
