"""Which private strings of the training data come out of the model again, and how far it favours them over random ones?

>>> report = probe_leaks(open_run(Path("runs/faq")), LeaksConfig())
>>> print("\\n".join(report.summary_lines()))
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tunesmith.config import LeaksConfig
from tunesmith.data.storing.prepared import PreparedData, load_data_of
from tunesmith.evaluate.answering import OnProgress
from tunesmith.evaluate.probing.both import Both, ask_both
from tunesmith.evaluate.probing.exposure import Exposure, exposures, lines_of
from tunesmith.evaluate.probing.extraction import Extraction, extract, tries_of
from tunesmith.evaluate.probing.leaks_report import Leak, LeaksReport, build_report
from tunesmith.evaluate.probing.secrets import Found, Secret, private_strings
from tunesmith.files import write_json
from tunesmith.runs import RunDirectory
from tunesmith.tuned import OpenedModel


@dataclass(frozen=True, kw_only=True, slots=True)
class _Said:
    """What one model did with every secret, in their order."""

    extractions: list[Extraction]
    exposures: list[Exposure | None]


def probe_leaks(
    run: RunDirectory,
    config: LeaksConfig,
    *,
    show_secrets: bool = False,
    dtype: str = "auto",
    device: str = "auto",
    on_progress: OnProgress | None = None,
) -> LeaksReport:
    """Look at the private strings of a run's training data and write `probes/leaks.json` in the run.

    Args:
        run: finished.
        config: how many strings, samples and random strings.
        show_secrets: keep the strings in full in the report and its file; otherwise two characters and a hash.
        dtype: compute type, as on the command line.
        device: as on the command line.
        on_progress: told the stage, how many are done and of how many.

    Raises:
        RunError: the run has not finished, or its data set has changed.
        DataError: `canaries.json` is gone or was changed.
    """
    record = run.record()
    run.manifest()  # an unfinished run is refused before anything is read
    data = load_data_of(run)
    found = private_strings(data, limit=config.limit, seed=config.seed)
    said = _ask_both(run, found.secrets, config, dtype, device, on_progress or _ignore)
    report = build_report(
        _leaks(found, said, show_secrets),
        config,
        run_name=run.name,
        model_name=record["model"]["name"],
        data_directory=str(data.directory),
        sources=_source_files(data),
        num_private=found.num_private,
        repeats=found.repeats,
    )
    run.probes_dir.mkdir(exist_ok=True)
    write_json(run.leaks_file, report.to_json())
    return report


def _ask_both(run: RunDirectory, secrets: Sequence[Secret], config: LeaksConfig, dtype: str, device: str, tell: OnProgress) -> Both[_Said]:
    """Without any private string no model is opened."""
    if not secrets:
        nothing = _Said(extractions=[], exposures=[])
        return Both(nothing, nothing)
    return ask_both(run, lambda opened, label: _ask(opened, label, secrets, config, tell), dtype=dtype, device=device)


def _ask(opened: OpenedModel, label: str, secrets: Sequence[Secret], config: LeaksConfig, tell: OnProgress) -> _Said:
    lines = lines_of(secrets, opened.renderer, count=config.candidates, seed=config.seed)
    known = [line for line in lines if line]
    total = sum(len(line.continuations) for line in known)
    ranked = iter(exposures(opened, known, lambda done: tell(f"{label}: exposure", done, total)) if known else ())
    measured = [next(ranked) if line else None for line in lines]
    tries = tries_of(opened, secrets, lines, config)
    answers = extract(opened, secrets, tries, config, lambda done, number: tell(f"{label}: answers", done, number))
    return _Said(extractions=answers, exposures=measured)


def _leaks(found: Found, said: Both[_Said], show_secrets: bool) -> list[Leak]:
    return [
        Leak(
            kind=secret.kind,
            string=secret.text if show_secrets else secret.masked,
            source=secret.source,
            num_places=secret.num_places,
            base=said.base.extractions[number],
            tuned=said.tuned.extractions[number],
            base_exposure=said.base.exposures[number],
            tuned_exposure=said.tuned.exposures[number],
        )
        for number, secret in enumerate(found.secrets)
    ]


def _source_files(data: PreparedData) -> tuple[str, ...]:
    """What the data set was prepared from, as far as its manifest says."""
    return tuple(str(one["path"]) for one in data.manifest.get("sources", ()) if one.get("path"))


def _ignore(*_: object) -> None:
    """Nobody is watching."""
