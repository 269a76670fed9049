"""Base and tuned model on the held-out examples: same prompts, same decoding, every answer kept.

>>> report = evaluate_run(open_run(Path("runs/faq")), EvaluateConfig())
>>> print("\\n".join(report.summary_lines()))
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence

from tunesmith.config import EvaluateConfig
from tunesmith.data.storing.prepared import load_data_of
from tunesmith.engine.loading import dtype_name
from tunesmith.evaluate.answering import OnProgress, answer_examples, make_records, render_examples, try_scorers
from tunesmith.evaluate.records import EvaluationRecord, write_records
from tunesmith.evaluate.report import EvaluationReport, build_report
from tunesmith.evaluate.run_page import write_pages
from tunesmith.evaluate.sampling import choose_examples
from tunesmith.evaluate.scorers import resolve_scorers
from tunesmith.files import write_json
from tunesmith.runs import RunDirectory
from tunesmith.tuned import open_base, open_tuned

Say = Callable[[str], None]


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
        DataError: the split has no examples, or a scorer fails on one; names it.
        ConfigError: there is no such scorer.
    """
    record = run.record()
    data = load_data_of(run)
    examples = choose_examples(data, config, say or _ignore)
    scorers = resolve_scorers(config.scorers, examples, train=data.train, also=config.weights, embeddings=config.embeddings)
    try_scorers(scorers, examples, config.weights)
    config = config.model_copy(update={"scorers": tuple(scorer.name for scorer in scorers)})
    tuned = open_tuned(run, dtype=dtype, device=device)
    rendered = render_examples(examples, tuned.renderer, record["config"]["max_length"], say or _ignore)
    answers = {"tuned": answer_examples(tuned, rendered, config, "tuned", on_progress=on_progress)}
    if tuned.network is not tuned.loaded.network:  # an adapter, which can be switched off
        answers["base"] = answer_examples(tuned, rendered, config, "base", on_progress=on_progress, switched_off=True)
    else:
        device, dtype = tuned.loaded.device.type, dtype_name(tuned.loaded.dtype)
        del tuned  # two networks at a time are one too many
        gc.collect()
        base = open_base(run, dtype=dtype, device=device)
        answers["base"] = answer_examples(base, rendered, config, "base", on_progress=on_progress)
    records = make_records(rendered, {label: answers[label] for label in ("base", "tuned")}, scorers, config.weights)
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


def _write(run: RunDirectory, report: EvaluationReport, records: Sequence[EvaluationRecord]) -> None:
    """Replace an earlier evaluation; an analysis of the earlier answers goes with it."""
    run.evaluation_dir.mkdir(exist_ok=True)
    run.forget_analysis()
    write_records(run.evaluation_records_file, records)
    write_json(run.evaluation_report_file, report.to_json())
    write_pages(run)


def _ignore(*_: object) -> None:
    """Nobody is watching."""
