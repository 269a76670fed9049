"""Base and tuned model on the held-out examples: same prompts, same decoding, every answer kept.

>>> report = evaluate_run(open_run(Path("runs/faq")), EvaluateConfig())
>>> print("\\n".join(report.summary_lines()))
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from tunesmith.config import EvaluateConfig
from tunesmith.data.storing.prepared import load_data_of
from tunesmith.distributed.group import Group, joined
from tunesmith.errors import DataError
from tunesmith.evaluate.answering import Answers, OnProgress, answer_examples, make_records, render_examples, score_records, try_scorers
from tunesmith.evaluate.base_answers import KeepBase, base_identity
from tunesmith.evaluate.records import EvaluationRecord, write_records
from tunesmith.evaluate.report import EvaluationReport, build_report
from tunesmith.evaluate.run_page import write_pages
from tunesmith.evaluate.sampling import choose_examples
from tunesmith.evaluate.scorers import Scorer, resolve_scorers
from tunesmith.evaluate.stored import Asked, StoredAnswers, read_answers, settings_for, write_answers
from tunesmith.evaluate.through_vllm import Questions, answered_by_vllm, vllm_models
from tunesmith.files import write_json
from tunesmith.render.chunks import Renderings
from tunesmith.runs import RunDirectory
from tunesmith.tuned import open_base, open_tuned
from tunesmith.types import Example

Say = Callable[[str], None]


def evaluate_run(
    run: RunDirectory,
    config: EvaluateConfig,
    *,
    dtype: str = "auto",
    device: str = "auto",
    say: Say | None = None,
    on_progress: OnProgress | None = None,
    keep_base: KeepBase | None = None,
) -> EvaluationReport:
    """Evaluate a finished run and write `evaluation/` in its directory (an earlier evaluation is replaced).

    Ranks of a group share the asking; the first one scores and writes. With `config.engine` vllm the answers come from a vLLM that is
    started for it, after our engine has taken the losses and given back its memory.

    With `keep_base` the base model's answers may be those that were kept when it was asked the same for another run.

    The answers are on the disk before the first is scored: what a scorer fails on can be scored with `rescore_run`.

    Raises:
        RunError: the run has not finished, or its data set has changed.
        DataError: the split has no examples, or a scorer fails on one; names it.
        ConfigError: there is no such scorer; vLLM is not installed, or cannot load the run, or is asked for by several processes.
        AssetError: vLLM does not start, or ends in the middle.
    """
    with joined(device) as group:
        watched = group.is_first  # the others work in silence
        say, on_progress = (say or _ignore, on_progress) if watched else (_ignore, None)
        return _evaluate(run, config, dtype, device, say, on_progress, keep_base, group)


def _evaluate(
    run: RunDirectory,
    config: EvaluateConfig,
    dtype: str,
    device: str,
    say: Say,
    on_progress: OnProgress | None,
    keep_base: KeepBase | None,
    group: Group,
) -> EvaluationReport:
    data = load_data_of(run)
    examples = choose_examples(data, config, say)
    scorers = resolve_scorers(config.scorers, examples, train=data.train, also=config.weights, embeddings=config.embeddings)
    try_scorers(scorers, examples, config.weights)
    config = config.model_copy(update={"scorers": tuple(scorer.name for scorer in scorers)})
    models = vllm_models(run, examples, group) if config.engine == "vllm" else None
    rendered, answers, questions = _ask_both(run, examples, config, dtype, device, say, on_progress, keep_base)
    answered_by = ""
    if models:
        answers, answered_by = answered_by_vllm(run, models, questions, answers, config, say, on_progress)
    unscored = make_records(rendered, {label: answers[label] for label in ("base", "tuned")}, ())
    asked = Asked.now(run, config, num_left_out=len(examples) - len(rendered), answered_by=answered_by)

    def write() -> EvaluationReport:
        write_answers(run, asked, unscored)
        return _report_on(run, StoredAnswers(asked, unscored), examples, scorers, config)

    return group.from_first(write)


def _ask_both(
    run: RunDirectory,
    examples: Sequence[Example],
    config: EvaluateConfig,
    dtype: str,
    device: str,
    say: Say,
    on_progress: OnProgress | None,
    keep_base: KeepBase | None,
) -> tuple[list[Renderings], dict[str, Answers], Questions]:
    """What our engine says, and what another one is to be asked; no network is left in memory."""
    tuned = open_tuned(run, dtype=dtype, device=device)
    rendered = render_examples(examples, tuned.renderer, run.record()["config"]["max_length"], say)
    options: dict[str, Any] = {"on_progress": on_progress, "losses_alone": config.engine != "tunesmith"}
    answers = {"tuned": answer_examples(tuned, rendered, config, "tuned", **options)}
    depends_on = base_identity(run, tuned, rendered, config) if keep_base else {}
    questions = Questions.of(tuned, rendered, config)
    if tuned.network is not tuned.loaded.network:  # an adapter, which can be switched off
        ask_base = partial(answer_examples, tuned, rendered, config, "base", switched_off=True, **options)
    else:
        del tuned  # two networks at a time are one too many
        gc.collect()
        ask_base = partial(_ask_apart, run, rendered, config, questions.dtype, questions.device, options)
    answers["base"] = keep_base(depends_on, ask_base) if keep_base else ask_base()
    return rendered, answers, questions


def rescore_run(run: RunDirectory, config: EvaluateConfig, *, say: Say | None = None) -> EvaluationReport:
    """Score the stored answers of the last evaluation anew and write `evaluation/`; no model is asked.

    Args:
        run: evaluated, or answered and not scored because a scorer failed.
        config: what is set in it takes the place of what the answers were scored with; the rest is as it was.
        say: told what was done.

    Raises:
        RunError: there are no stored answers, or they are of another state of the model or the data.
        ConfigError: there is no such scorer, or a setting would take other answers.
        DataError: a scorer fails on an example; names it.
    """
    stored, data = read_answers(run), load_data_of(run)
    config = settings_for(stored.asked, config)
    examples = choose_examples(data, config, _ignore)
    scorers = resolve_scorers(config.scorers, examples, train=data.train, also=config.weights, embeddings=config.embeddings)
    config = config.model_copy(update={"scorers": tuple(scorer.name for scorer in scorers)})
    report = _report_on(run, stored, examples, scorers, config)
    titles, count = ", ".join(scorer.title for scorer in scorers), len(stored.records)
    (say or _ignore)(f"scored the stored answers of {stored.asked.date} to {count:,} examples with {titles}; asked no model")
    return report


def _report_on(
    run: RunDirectory, stored: StoredAnswers, examples: Sequence[Example], scorers: Sequence[Scorer], config: EvaluateConfig
) -> EvaluationReport:
    """Score, compare and write."""
    records = _scored(run, stored.records, examples, scorers, config)
    report = build_report(
        records,
        config,
        run_name=run.name,
        model_name=run.record()["model"]["name"],
        split=config.split,
        data_fingerprint=stored.asked.data_fingerprint,
        num_left_out=stored.asked.num_left_out,
        date=stored.asked.date,
        answered_by=stored.asked.answered_by,
    )
    _write(run, report, records)
    return report


def _scored(
    run: RunDirectory, records: Sequence[EvaluationRecord], examples: Sequence[Example], scorers: Sequence[Scorer], config: EvaluateConfig
) -> list[EvaluationRecord]:
    try:
        return score_records(records, {example.id: example for example in examples}, scorers, config.weights)
    except DataError as error:
        remedy = f"{error.remedy}; all answers are kept: `tunesmith evaluate {run.path} --rescore` scores them and asks no model"
        raise DataError(error.place, error.found, expected=error.expected, remedy=remedy) from error


def _ask_apart(
    run: RunDirectory, rendered: Sequence[Renderings], config: EvaluateConfig, dtype: str, device: str, options: Mapping[str, Any]
) -> Answers:
    """Open the base model beside no other, and ask it."""
    return answer_examples(open_base(run, dtype=dtype, device=device), rendered, config, "base", **options)


def _write(run: RunDirectory, report: EvaluationReport, records: Sequence[EvaluationRecord]) -> None:
    """Replace an earlier evaluation; an analysis of the earlier answers goes with it."""
    run.evaluation_dir.mkdir(exist_ok=True)
    run.forget_analysis()
    write_records(run.evaluation_records_file, records)
    write_json(run.evaluation_report_file, report.to_json())
    write_pages(run)


def _ignore(*_: object) -> None:
    """Nobody is watching."""
