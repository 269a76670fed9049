"""The base models' answers, kept for the trials that would ask them the same.

A file `base/KEY.jsonl` for all that the answers depend on (`tunesmith.evaluate.base_answers.base_identity`), KEY being its digest:

    {"schema_version": 1, "made_by": "001-n250", "depends_on": {"weights": "…", "generation": {…}, …}}
    {"loss": {"total": 61.2, "num_supervised": 24}, "completion": {"text": "…", "token_ids": […], "finish_reason": "…", "logprobs": null}}

What asking took is not kept: no trial shall report another one's times. Trials that run at the same time may ask twice; what they are
told is equal, and whole files alone have a name that is looked for.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from tunesmith.errors import RunError
from tunesmith.evaluate.answering import Answers
from tunesmith.files import read_json_lines, write_json_lines
from tunesmith.types import Completion, ExampleLoss, TokenLogprob

SCHEMA_VERSION = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class KeptAnswers:
    """Answers on disk; call it with what they depend on and how to have them made (`KeepBase`)."""

    directory: Path
    trial: str
    """That asks, for the record."""
    say: Callable[[str], None]

    def __call__(self, depends_on: Mapping[str, Any], ask: Callable[[], Answers]) -> Answers:
        """The answers kept, or those asked for now, which are kept.

        Raises:
            RunError: a file of answers cannot be read.
        """
        text = json.dumps(depends_on, sort_keys=True)
        file = self.directory / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.jsonl"
        if file.is_file():
            head, *lines = _read(file)
            self.say(f"the base model's answers are those that trial {head['made_by']} was given to the same questions")
            return _answers(lines, file)
        answers = dataclasses.replace(ask(), effort=None)
        self._write(file, answers, depends_on)
        return answers

    def _write(self, file: Path, answers: Answers, depends_on: Mapping[str, Any]) -> None:
        """Under a name that no process of any machine shares, then renamed."""
        head = {"schema_version": SCHEMA_VERSION, "made_by": self.trial, "depends_on": dict(depends_on)}
        completions: Sequence[Completion | None] = answers.completions or [None] * len(answers.losses)
        lines = [
            {"loss": dataclasses.asdict(loss), "completion": dataclasses.asdict(completion) if completion else None}
            for loss, completion in zip(answers.losses, completions, strict=True)
        ]
        self.directory.mkdir(exist_ok=True)
        own = file.with_name(f".{uuid4().hex}.partial")
        try:
            write_json_lines(own, [head, *lines])
            own.replace(file)
        finally:
            own.unlink(missing_ok=True)


def _read(file: Path) -> list[dict[str, Any]]:
    try:
        lines = read_json_lines(file)
    except json.JSONDecodeError as error:
        raise _unreadable(file, f"not JSON Lines ({error})") from None
    if not lines or lines[0].get("schema_version") != SCHEMA_VERSION or lines[0]["depends_on"]["num_examples"] != len(lines) - 1:
        raise _unreadable(file, "lines are missing, or another version wrote it")
    return lines


def _answers(lines: list[dict[str, Any]], file: Path) -> Answers:
    try:
        completions = [_completion(line["completion"]) for line in lines if line["completion"]]
        losses = [ExampleLoss(**line["loss"]) for line in lines]
    except (KeyError, TypeError) as error:
        raise _unreadable(file, f"a line has other fields than this version's ({error})") from None
    return Answers(losses=losses, completions=completions or None, effort=None)


def _completion(values: Mapping[str, Any]) -> Completion:
    logprobs = values["logprobs"]
    known = None if logprobs is None else tuple(_logprob(one) for one in logprobs)
    return Completion(**{**values, "token_ids": tuple(values["token_ids"]), "logprobs": known})


def _logprob(values: Mapping[str, Any]) -> TokenLogprob:
    return TokenLogprob(**{**values, "top": tuple((token, logprob) for token, logprob in values["top"])})


def _unreadable(file: Path, found: str) -> RunError:
    remedy = f"delete {file.name}: the base model is then asked again"
    return RunError(str(file), found, expected="a base model's answers as a trial wrote them", remedy=remedy)
