"""Base and tuned model on the held-out examples: same prompts, same decoding, every answer kept.

>>> report = evaluate_run(open_run(Path("runs/faq")), EvaluateConfig())
>>> print("\\n".join(report.summary_lines()))
"""

from __future__ import annotations

import gc
import json
import random
import shutil
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from itertools import islice
from typing import NamedTuple

from tunesmith.config import EvaluateConfig
from tunesmith.data.prepared import PreparedData, load_data_of
from tunesmith.engine.adapters import as_base
from tunesmith.engine.loading import dtype_name
from tunesmith.engine.score import score
from tunesmith.errors import DataError, RunError
from tunesmith.evaluate.page import render_html
from tunesmith.evaluate.records import EvaluationRecord, ModelAnswer, write_records
from tunesmith.evaluate.report import EvaluationReport, build_report
from tunesmith.evaluate.scorers import score_answer
from tunesmith.files import write_json, write_text
from tunesmith.render.chunks import Renderings, render_all
from tunesmith.render.renderer import Renderer
from tunesmith.runs import RunDirectory
from tunesmith.tuned import OpenedModel, open_base, open_tuned
from tunesmith.types import Completion, Example, ExampleLoss

Say = Callable[[str], None]
OnProgress = Callable[[str, int, int], None]


class Answers(NamedTuple):
    """What one model did with the examples, in their order."""

    losses: Sequence[ExampleLoss]
    completions: Sequence[Completion] | None
    """None for raw text: there is nothing to answer."""


def evaluate_run(
    run: RunDirectory,
    config: EvaluateConfig,
    *,
    dtype: str = "auto",
    device: str = "auto",
    say: Say | None = None,
    on_progress: OnProgress | None = None,
) -> EvaluationReport:
    """Evaluate a finished run and write `evaluation/` in its directory (an earlier evaluation is replaced).

    Raises:
        RunError: the run has not finished, or its data set has changed.
        DataError: the split has no examples.
    """
    record = run.record()
    data = load_data_of(run)
    examples = _choose(data, config, say or _ignore)
    opened = open_tuned(run, dtype=dtype, device=device)
    rendered = _render(examples, opened.renderer, record["config"]["max_length"], say or _ignore)
    base, tuned = _answer_both(run, opened, rendered, config, on_progress or _ignore)
    answered = [renderings[0].example for renderings in rendered]
    records = [_record(one, _answer(one, base, index), _answer(one, tuned, index)) for index, one in enumerate(answered)]
    report = build_report(
        records,
        config,
        run_name=run.name,
        model_name=record["model"]["name"],
        split=config.split,
        data_fingerprint=data.fingerprint,
        num_left_out=len(examples) - len(rendered),
    )
    _write(run, report, records)
    return report


def _choose(data: PreparedData, config: EvaluateConfig, say: Say) -> list[Example]:
    """An answer judged undesirable is no reference to be measured by."""
    held_out = {"train": data.train, "validation": data.validation, "test": data.test}[config.split]
    examples = [example for example in held_out if example.label is not False]
    if len(examples) < len(held_out):
        say(f"left out of the evaluation: {len(held_out) - len(examples):,} examples whose answers are undesirable")
    if not examples:
        raise DataError(
            str(data.directory),
            f"the {config.split} split is empty" if not held_out else f"all answers of the {config.split} split are undesirable",
            expected="held-out examples",
            remedy="prepare the data with a larger --test-fraction, or evaluate --split validation",
        )
    if config.limit is None or config.limit >= len(examples):
        return examples
    chosen = set(random.Random(config.seed).sample(range(len(examples)), config.limit))  # noqa: S311 - a sample, not a secret
    return [example for index, example in enumerate(examples) if index in chosen]


def _render(examples: Sequence[Example], renderer: Renderer, max_length: int, say: Say) -> list[Renderings]:
    """As in training: texts too long are read in windows, prompts too long are cut.

    An example whose answer alone is too long is left out, and named.
    """
    rendered = []
    for example in examples:
        try:
            is_text = example.kind == "text"
            rendered.append(render_all(example, renderer, max_length) if is_text else (renderer.fit(example, max_length),))
        except DataError as error:
            say(f"left out of the evaluation: {error}")
    if not rendered:
        raise DataError(
            "the evaluation",
            "every example is too long",
            expected=f"answers under {max_length} tokens",
            remedy="raise --max-length in training",
        )
    return rendered


def _answer_both(
    run: RunDirectory, opened: OpenedModel, rendered: Sequence[Renderings], config: EvaluateConfig, on_progress: OnProgress
) -> tuple[Answers, Answers]:
    """The tuned model's answers and the base's; an adapter is switched off, another network is loaded after the first is gone."""
    tuned = _ask(opened, rendered, config, "tuned", on_progress)
    if opened.network is not opened.loaded.network:
        return _ask(opened, rendered, config, "base", on_progress, switched_off=True), tuned
    device, dtype = opened.loaded.device.type, dtype_name(opened.loaded.dtype)
    del opened
    gc.collect()
    return _ask(open_base(run, dtype=dtype, device=device), rendered, config, "base", on_progress), tuned


def _ask(
    opened: OpenedModel,
    rendered: Sequence[Renderings],
    config: EvaluateConfig,
    label: str,
    on_progress: OnProgress,
    *,
    switched_off: bool = False,
) -> Answers:
    sequences = [sequence for renderings in rendered for sequence in renderings]
    examples = [renderings[0].example for renderings in rendered]
    with as_base(opened.network) if switched_off else nullcontext():
        losses = score(opened.hugging_face_network, sequences, on_progress=lambda done: on_progress(f"{label}: loss", done, len(sequences)))
        if examples[0].text is not None:
            return Answers(_add_up(losses, rendered), None)
        completions = opened.complete(
            [example.prompt_messages for example in examples],
            config.generation,
            fields=[example.fields for example in examples],
            on_progress=lambda done: on_progress(f"{label}: answers", done, len(examples)),
        )
    return Answers(losses, completions)


def _add_up(losses: Sequence[ExampleLoss], rendered: Sequence[Renderings]) -> list[ExampleLoss]:
    """The losses of every text's windows together: its tokens are predicted once each."""
    following = iter(losses)
    windows = [list(islice(following, len(renderings))) for renderings in rendered]
    return [ExampleLoss(total=sum(one.total for one in w), num_supervised=sum(one.num_supervised for one in w)) for w in windows]


def _answer(example: Example, answers: Answers, index: int) -> ModelAnswer:
    loss = answers.losses[index]
    completion = answers.completions[index] if answers.completions else Completion(text="", token_ids=(), finish_reason="end_of_turn")
    return ModelAnswer(
        completion=completion.text,
        finish_reason=completion.finish_reason,
        num_tokens=len(completion.token_ids),
        loss_total=loss.total,
        num_supervised=loss.num_supervised,
        scores=score_answer(completion.text, example.reference) if answers.completions else {},
    )


def _record(example: Example, base: ModelAnswer, tuned: ModelAnswer) -> EvaluationRecord:
    return EvaluationRecord(
        id=example.id,
        source=example.source,
        prompt=example.prompt,
        reference=example.reference,
        messages=example.prompt_messages,
        base=base,
        tuned=tuned,
    )


def _write(run: RunDirectory, report: EvaluationReport, records: Sequence[EvaluationRecord]) -> None:
    """Replace an earlier evaluation; an analysis of the earlier answers goes with it."""
    run.evaluation_dir.mkdir(exist_ok=True)
    shutil.rmtree(run.analysis_dir, ignore_errors=True)
    write_records(run.evaluation_records_file, records)
    write_text(run.html_report_file, render_html(report, records, run.metrics()))
    write_json(run.evaluation_report_file, report.to_json())


def read_report(run: RunDirectory) -> EvaluationReport:
    """The report of a run's latest evaluation.

    Raises:
        RunError: the run has not been evaluated.
    """
    if not run.evaluation_report_file.is_file():
        remedy = f"run `tunesmith evaluate {run.path}` first"
        raise RunError(str(run.path), "the run has not been evaluated", expected="evaluation records", remedy=remedy)
    return EvaluationReport.from_json(json.loads(run.evaluation_report_file.read_text(encoding="utf-8")))


def _ignore(*_: object) -> None:
    """Nobody is watching."""
