"""Answers on the disk before they are scored, so that they can be scored anew without asking a model again.

    runs/NAME/evaluation/answers.jsonl: a line about the whole, then the records without scores

>>> write_answers(run, Asked.now(run, config, num_left_out=0), records)
>>> asked, records = read_answers(run)
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from tunesmith.config import EvaluateConfig, build
from tunesmith.engine.loading import weights_fingerprint
from tunesmith.errors import ConfigError, RunError
from tunesmith.evaluate.records import EvaluationRecord
from tunesmith.files import read_json_lines, write_json_lines
from tunesmith.runs import RunDirectory

SCHEMA_VERSION = 1
OF_THE_ANSWERS = ("engine", "split", "limit", "generation")
"""Settings that other answers would come of; with a limit the seed is one as well, as it draws the sample."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """What the stored answers are of."""

    schema_version: int = SCHEMA_VERSION
    date: str
    """When the models were asked, `2026-01-31`."""
    model: str
    """Fingerprint of the tuned weights; the base model's are checked whenever the run is opened."""
    data_fingerprint: str
    num_left_out: int
    """Examples of the split that were too long to ask."""
    settings: Mapping[str, Any]
    """The whole `EvaluateConfig`, its scorers as they were resolved."""
    answered_by: str = ""
    """As in `EvaluationReport`."""

    @classmethod
    def now(cls, run: RunDirectory, config: EvaluateConfig, *, num_left_out: int, answered_by: str = "") -> Asked:
        """Today, by the run as it is."""
        return cls(
            date=datetime.now(UTC).date().isoformat(),
            model=weights_fingerprint(run.model_dir),
            data_fingerprint=run.record()["data"]["fingerprint"],
            num_left_out=num_left_out,
            settings=config.model_dump(mode="json"),
            answered_by=answered_by,
        )


class StoredAnswers(NamedTuple):
    """Of a run's last evaluation, whether it could be scored or not."""

    asked: Asked
    records: list[EvaluationRecord]
    """Without scores."""


def write_answers(run: RunDirectory, asked: Asked, records: Sequence[EvaluationRecord]) -> None:
    """Replace what an earlier evaluation stored."""
    run.evaluation_dir.mkdir(exist_ok=True)
    write_json_lines(run.evaluation_answers_file, (dataclasses.asdict(asked), *(record.to_json() for record in records)))


def read_answers(run: RunDirectory) -> StoredAnswers:
    """The answers, if they are of the run's model and data as they are now.

    Raises:
        RunError: there are none, they cannot be read, or the model or the data were others.
    """
    remedy, file = f"answer anew with `tunesmith evaluate {run.path}`, without --rescore", run.evaluation_answers_file
    if not file.is_file():
        raise RunError(str(run.path), "there are no stored answers", expected="those of an evaluation by this version", remedy=remedy)
    try:
        head, *lines = read_json_lines(file)
        stored = StoredAnswers(Asked(**head), [EvaluationRecord.from_json(line) for line in lines])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(
            str(file), f"it cannot be read ({error})", expected="answers as tunesmith evaluate stores them", remedy=remedy
        ) from None
    now = (weights_fingerprint(run.model_dir), run.record()["data"]["fingerprint"])
    names = ("tuned model's weights", "data set")
    for name, then, found in zip(names, (stored.asked.model, stored.asked.data_fingerprint), now, strict=True):
        if then != found:
            found_text = f"the stored answers are of another {name} (fingerprint {then}, now {found})"
            raise RunError(str(run.path), found_text, expected="answers of the run as it is", remedy=remedy)
    return stored


def settings_for(asked: Asked, given: EvaluateConfig) -> EvaluateConfig:
    """The settings of the stored answers, but for what was given and concerns the scores alone.

    Scorers that are given come without the earlier weights.

    Raises:
        ConfigError: something given would take other answers.
    """
    before = build(EvaluateConfig, asked.settings, place="stored answers")
    chosen = {name: getattr(given, name) for name in given.model_fields_set}
    of_answers = [*OF_THE_ANSWERS, *(["seed"] if before.limit is not None else [])]
    for name in of_answers:
        if name in chosen and _differs(chosen[name], getattr(before, name)):
            raise ConfigError(
                "--rescore",
                f"{name} is given as {_shown(chosen[name])}",
                expected=f"what the stored answers were made with, {_shown(getattr(before, name))}",
                remedy=f"leave {name} out, or answer anew without --rescore",
            )
    if "scorers" in chosen:
        chosen.setdefault("weights", {})
    return before.model_copy(update={name: value for name, value in chosen.items() if name not in of_answers})


def _differs(given: Any, before: Any) -> bool:
    """In what was said; settings inside settings that were not given are as before."""
    fields = getattr(given, "model_fields_set", None)
    return given != before if fields is None else any(getattr(given, name) != getattr(before, name) for name in fields)


def _shown(value: Any) -> str:
    return json.dumps(value.model_dump(mode="json", exclude_defaults=True) if hasattr(value, "model_dump") else value)
