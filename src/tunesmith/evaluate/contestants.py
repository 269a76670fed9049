"""The answers of several runs' evaluations by model, to be set against each other: a run's name, or its base model's.

>>> [contestant.name for contestant in load_contestants([Path("runs/faq"), Path("runs/faq-longer")])]
['smollm2-135m-instruct', 'faq', 'faq-longer']
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from tunesmith.errors import ConfigError
from tunesmith.evaluate.records import EvaluationRecord, ModelAnswer, read_records
from tunesmith.evaluate.scorers import LOSS, METRICS
from tunesmith.evaluate.votes import Kind, Vote, Winner, answer_key
from tunesmith.evaluate.words import num_words
from tunesmith.runs import open_run


@dataclass(frozen=True, kw_only=True, slots=True)
class Contestant:
    """A model and what it answered."""

    name: str
    records: Mapping[str, EvaluationRecord]
    """By example id: prompt and reference."""
    answers: Mapping[str, ModelAnswer]
    """By example id, the same ids."""


def load_contestants(runs: Sequence[Path], *, parse: Callable[[bytes], Any] = json.loads) -> list[Contestant]:
    """Models of the runs' evaluations, base models first, each once.

    Where two runs asked one base model in different ways (another template, other settings), its answers differ; the second
    then goes under a name of its own, `NAME (RUN)`, since a vote on one answer says nothing of the other.

    Args:
        runs: directories.
        parse: of a line of their records, as in `read_json_lines`.

    Raises:
        RunError: a run has not been evaluated.
        ConfigError: two runs have the same name, or a run that of a base model.
    """
    names = [path.resolve().name for path in runs]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ConfigError(str(runs[0]), f"two runs are called {twice[0]!r}", expected="different names", remedy="rename a run's directory")
    found: dict[str, Contestant] = {}
    for path in runs:
        for contestant in contestants_of(path, parse=parse):
            earlier = found.get(contestant.name)
            if earlier is not None and contestant.name in names:
                raise _named_like_a_base(path, f"of the runs one is called {contestant.name!r}, another has a base model of that name")
            name = contestant.name if earlier is None or _agree(earlier, contestant) else f"{contestant.name} ({path.resolve().name})"
            found[name] = _joined(name, found.get(name), contestant)
    return sorted(found.values(), key=lambda contestant: contestant.name in names)


def contestants_of(path: Path, *, parse: Callable[[bytes], Any] = json.loads) -> list[Contestant]:
    """Models of one run's latest evaluation; `parse` as in `load_contestants`.

    Raises:
        RunError: the run has not been evaluated.
        ConfigError: it is named like its base model.
    """
    run = open_run(path)
    records = read_records(run.evaluation_records_file, parse=parse)
    names = {"base": str(run.record()["model"]["name"]), "tuned": path.resolve().name}
    if names["base"] == names["tuned"]:
        raise _named_like_a_base(path, "the run is named like its base model")
    labels = dict.fromkeys(label for record in records for label in record.answers)
    return [
        Contestant(
            name=names.get(label, label),
            records={record.id: record for record in records if label in record.answers},
            answers={record.id: record.answers[label] for record in records if label in record.answers},
        )
        for label in labels
    ]


def _named_like_a_base(path: Path, found: str) -> ConfigError:
    return ConfigError(str(path), found, expected="names that tell them apart", remedy="rename the run's directory")


def _agree(first: Contestant, second: Contestant) -> bool:
    shared = first.answers.keys() & second.answers.keys()
    return all(first.answers[example].completion == second.answers[example].completion for example in shared)


def _joined(name: str, earlier: Contestant | None, later: Contestant) -> Contestant:
    records, answers = (earlier.records, earlier.answers) if earlier else ({}, {})
    return Contestant(name=name, records={**records, **later.records}, answers={**answers, **later.answers})


def metric_votes(contestants: Sequence[Contestant], metric: str) -> list[Vote]:
    """A vote for each example that two models answered and that has the metric for both; equal scores are a tie.

    Raises:
        ConfigError: there is no such metric, or no two models have it on one example.
    """
    if metric not in METRICS:
        raise ConfigError(
            "--by-metric", f"there is no metric {metric!r}", expected=f"one of {', '.join(METRICS)}", remedy="correct the name"
        )
    votes = [vote for first, second in combinations(contestants, 2) for vote in _pair_votes(first, second, metric)]
    if not votes:
        found = f"no example has {metric} for two of {', '.join(one.name for one in contestants)}"
        raise ConfigError("--by-metric", found, expected="evaluations on the same examples", remedy="evaluate the runs on one split")
    return votes


def _pair_votes(first: Contestant, second: Contestant, metric: str) -> list[Vote]:
    votes = []
    for example in first.answers:
        if example not in second.answers:
            continue
        left, right = first.answers[example], second.answers[example]
        scores = _score(left, metric), _score(right, metric)
        if scores[0] is not None and scores[1] is not None:
            winner = _winner(scores[0], scores[1], higher_is_better=METRICS[metric].higher_is_better)
            names = first.name, second.name
            votes.append(make_vote(names, (left, right), winner=winner, example=example, kind="metric", rater=metric))
    return votes


def _score(answer: ModelAnswer, metric: str) -> float | None:
    return answer.loss if metric == LOSS.name else answer.scores.get(metric)


def _winner(left: float, right: float, *, higher_is_better: bool) -> Winner:
    if left == right:
        return "tie"
    return "left" if (left > right) == higher_is_better else "right"


def make_vote(
    models: Sequence[str],
    answers: Sequence[ModelAnswer],
    *,
    winner: Winner,
    example: str,
    kind: Kind,
    rater: str,
    reason: str = "",
    time: str = "",
) -> Vote:
    """A vote on two answers, left and right, with their lengths and keys."""
    (left, right), (left_text, right_text) = models, (answer.completion for answer in answers)
    return Vote(
        left=left,
        right=right,
        winner=winner,
        kind=kind,
        example=example,
        rater=rater,
        left_words=num_words(left_text),
        right_words=num_words(right_text),
        left_answer=answer_key(left_text),
        right_answer=answer_key(right_text),
        reason=reason,
        time=time,
    )
