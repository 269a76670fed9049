"""How often the 95 % intervals of an evaluation contain the truth, by simulation: studies of n examples whose truth is known.

python bench/coverage.py                                    # the table of docs/evaluation.md; about ten minutes on one core
python bench/coverage.py --studies 200 --only kappa         # quicker, and rougher
python bench/coverage.py --out coverage.jsonl --seconds 80  # in pieces: the same command goes on, and prints the table when all is there

Of 1,000 studies the share covered has a standard error of 0.7 points at 95 %.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tunesmith.evaluate import labels, statistics
from tunesmith.evaluate.ranking import ratings
from tunesmith.evaluate.ranking.tally import count_votes
from tunesmith.evaluate.ranking.win_rates import rate_interval
from tunesmith.evaluate.statistics import Floats, Interval
from tunesmith.evaluate.votes import Vote
from tunesmith.files import append_json_lines, read_json_lines

Generator = np.random.Generator
Study = Callable[[Generator, int], list[bool]]
"""Draws one study of so many examples; whether each of its intervals contains the truth."""

CONFIDENCE = 0.95
COUNTS = (10, 20, 50, 150)
CHUNK = 100
"""Studies simulated in one go."""
SLOWER = 5
"""A fifth as many studies of Bradley-Terry, each with an interval for every model."""
NUM_RESAMPLES = 500
"""Fewer than an evaluation takes, for time; more would change the shares by less than their errors."""


def _mean(draw: Callable[[Generator, int], Floats], truth: float) -> Study:
    def study(generator: Generator, count: int) -> list[bool]:
        values = draw(generator, count)
        keywords = {"confidence": CONFIDENCE, "num_resamples": NUM_RESAMPLES, "seed": int(generator.integers(2**31))}
        return _covered(statistics.interval(values, np.ones(count), **keywords), truth)  # type: ignore[arg-type]

    return study


def _covered(interval: Interval | None, truth: float) -> list[bool]:
    """Nothing where no interval was given: that is said, and no wrong claim."""
    return [interval.low <= truth <= interval.high] if interval else []


def _score_differences(generator: Generator, count: int) -> Floats:
    """Half of the answers unchanged, the others better by much or worse by little."""
    return np.where(generator.random(count) < 0.5, generator.beta(1, 3, count) - 0.1, 0.0)


def _binary(generator: Generator, count: int) -> list[bool]:
    values = generator.choice([1.0, -1.0, 0.0], p=[0.2, 0.05, 0.75], size=count)
    return _covered(statistics.binary_interval(values, confidence=CONFIDENCE), 0.15)


def _loss_ratio(generator: Generator, count: int) -> list[bool]:
    """Answers of very different lengths, log-normal; nats a token are better by 0.3."""
    tokens = np.round(generator.lognormal(3, 1, count)) + 1
    differences = -0.3 * tokens + generator.normal(0, 2, count) * np.sqrt(tokens) * generator.lognormal(0, 0.5, count)
    keywords = {"confidence": CONFIDENCE, "num_resamples": NUM_RESAMPLES, "seed": int(generator.integers(2**31))}
    return _covered(statistics.interval(differences, tokens, **keywords), -0.3)  # type: ignore[arg-type]


SHARES = np.array([0.40, 0.25, 0.20, 0.10, 0.05])
RIGHT = np.array([0.9, 0.8, 0.7, 0.6, 0.5])
JOINT = SHARES[:, None] * (np.diag(RIGHT) + (1 - np.eye(5)) * ((1 - RIGHT) / 4)[:, None])
"""How often the class of the row is answered with that of the column."""


def _draw_classes(generator: Generator, count: int) -> tuple[Any, Any]:
    cells = generator.choice(25, p=JOINT.ravel(), size=count)
    return cells // 5, cells % 5


def _kappa_of(first: Any, second: Any) -> float:
    observed = float((first == second).mean())
    chance = float((np.bincount(first, minlength=5) * np.bincount(second, minlength=5)).sum()) / len(first) ** 2
    return (observed - chance) / (1 - chance) if chance < 1 else math.nan


def _of_classes(measure: Callable[[Any, Any], float], truth: float) -> Study:
    def study(generator: Generator, count: int) -> list[bool]:
        right, given = _draw_classes(generator, count)
        found = statistics.interval_of(
            lambda chosen: measure(right[chosen], given[chosen]),
            count,
            confidence=CONFIDENCE,
            num_resamples=NUM_RESAMPLES,
            seed=int(generator.integers(2**31)),
        )
        return _covered(found, truth)

    return study


ZIPF = 1 / np.arange(1, 21) / (1 / np.arange(1, 21)).sum()


def _answers_by(shares: Floats, right: Floats) -> Floats:
    """How often each class is answered with each: wrong answers fall on the others by their shares.  # (L, L), rows sum to 1"""
    others = np.tile(shares, (len(shares), 1)) * (1 - np.eye(len(shares)))
    return np.asarray(np.diag(right) + others / others.sum(axis=1, keepdims=True) * (1 - right)[:, None])


def _of_labels(figure: labels.Figure, shares: Floats, right: Floats) -> Study:
    """Two models on the same examples; the second gives the first one's answer to half of them, else one of a model that is better.

    The truth is that of the classes that occur in the study: of the others its figures say nothing.
    """
    first = _answers_by(shares, right)
    drawn = _answers_by(shares, np.minimum(right + 0.1, 0.99))
    truth = figure.of_table(shares[:, None] * (first + drawn) / 2) - figure.of_table(shares[:, None] * first)  # (L,)

    def study(generator: Generator, count: int) -> list[bool]:
        given = generator.choice(len(shares), p=shares, size=count)
        one, other = (_draw_answers(generator, table, given) for table in (first, drawn))
        other = np.where(generator.random(count) < 0.5, one, other)
        found = labels.difference_interval(figure, given, one, other, len(shares), confidence=CONFIDENCE)
        return _covered(found, float(truth[np.unique(given)].mean()))

    return study


def _draw_answers(generator: Generator, table: Floats, given: Any) -> Any:
    """One answer to each example of the given classes.  # (n,)"""
    passed = table.cumsum(axis=1)[given] < generator.random(len(given))[:, None]
    return np.minimum(passed.sum(axis=1), len(table) - 1)


_CHANCE = float((JOINT.sum(axis=0) * JOINT.sum(axis=1)).sum())
TRUE_KAPPA = (float(np.trace(JOINT)) - _CHANCE) / (1 - _CHANCE)


def _votes(generator: Generator, count: int, logits: Floats, raters: int) -> list[Vote]:
    """`raters` votes on each of `count` examples, two models drawn for each; tastes differ from example to example."""
    votes = []
    for example in range(count):
        left, right = generator.choice(len(logits), size=2, replace=False)
        chance = 1 / (1 + math.exp(logits[right] - logits[left]))
        leaning = generator.beta(4 * chance, 4 * (1 - chance))  # of this example's answers; its mean is the chance
        for rater in range(raters):
            winner: Any = "left" if generator.random() < leaning else "right"
            votes.append(Vote(left=f"m{left}", right=f"m{right}", winner=winner, example=str(example), rater=str(rater)))
    return votes


def _bradley_terry(logits: Floats, raters: int) -> Study:
    def study(generator: Generator, count: int) -> list[bool]:
        tally = count_votes(_votes(generator, count, logits, raters))
        if len(tally.groups()) > 1 or len(tally.models) < len(logits):
            return []
        centre = ratings.bradley_terry(tally).ratings
        resampled = ratings.resampled_ratings(tally, num_resamples=200, seed=int(generator.integers(2**31)))
        covered = []
        for number, model in enumerate(tally.models):
            truth = 1000 + 400 / math.log(10) * float(logits[int(model[1:])] - logits.mean())
            found = ratings.interval_around(float(centre[number]), resampled[:, number], tally.num_clusters, CONFIDENCE)
            covered += _covered(found, truth)
        return covered

    return study


def _win_rate(generator: Generator, count: int) -> list[bool]:
    votes = _votes(generator, count, np.array([1.0, 0.0]), raters=3)
    shares = np.array([vote.left_share if vote.left == "m0" else 1 - vote.left_share for vote in votes])
    return _covered(rate_interval(shares, [vote.example for vote in votes], confidence=CONFIDENCE), 1 / (1 + math.exp(-1)))


STUDIES: Mapping[str, Study] = {
    "mean, exponential": _mean(lambda generator, count: generator.exponential(1, count), 1.0),
    "mean, most scores 0": _mean(lambda generator, count: np.where(generator.random(count) < 0.3, generator.beta(2, 2, count), 0.0), 0.15),
    "mean difference, half unchanged": _mean(_score_differences, 0.075),
    "binary difference": _binary,
    "loss, difference of ratios": _loss_ratio,
    "macro-F1 difference, five classes, the rarest 5 %": _of_labels(labels.macro_f1, SHARES, RIGHT),
    "macro-F1 difference, the same, nearly all right": _of_labels(labels.macro_f1, SHARES, np.array([0.97, 0.95, 0.93, 0.90, 0.85])),
    "macro-F1 difference, two classes, one 10 %": _of_labels(labels.macro_f1, np.array([0.9, 0.1]), np.array([0.9, 0.6])),
    "macro-F1 difference, 20 classes, shares as 1 / rank": _of_labels(labels.macro_f1, ZIPF, np.linspace(0.9, 0.5, 20)),
    "macro-F1 difference, 30 classes, equal shares": _of_labels(labels.macro_f1, np.full(30, 1 / 30), np.full(30, 0.75)),
    "balanced accuracy difference, five classes": _of_labels(labels.balanced_accuracy, SHARES, RIGHT),
    "kappa": _of_classes(_kappa_of, TRUE_KAPPA),
    "win rate, three raters": _win_rate,
    "Bradley-Terry, 2 models": _bradley_terry(np.array([0.5, -0.5]), 1),
    "Bradley-Terry, 4 models": _bradley_terry(np.array([0.8, 0.3, -0.2, -0.9]), 1),
    "Bradley-Terry, 4 models, three raters": _bradley_terry(np.array([0.8, 0.3, -0.2, -0.9]), 3),
}


class Cell(NamedTuple):
    """Some studies of one cell of the table."""

    name: str
    count: int
    chunk: int
    """Of so many studies; also their seed."""
    covered: int
    intervals: int


def main() -> None:
    """Print the table, in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=1000, help="simulated studies for each cell, in hundreds")
    parser.add_argument("--only", default="", help="studies whose name has this in it")
    parser.add_argument("--out", type=Path, help="keep what was simulated in this file, and go on from it")
    parser.add_argument("--seconds", type=float, default=math.inf, help="stop after so many; needs --out")
    arguments = parser.parse_args()
    if math.isfinite(arguments.seconds) and not arguments.out:
        parser.error("--seconds needs --out, or what was simulated is lost")
    cells = {cell[:3]: cell for cell in _read(arguments.out)}
    names = [name for name in STUDIES if arguments.only in name]
    wanted = [(name, count, chunk) for name in names for count in COUNTS for chunk in range(_chunks(name, arguments.studies))]
    end = time.monotonic() + arguments.seconds
    for key in wanted:
        if key not in cells and time.monotonic() < end:
            cells[key] = _simulate(*key)
            _append(arguments.out, cells[key])
    left = sum(key not in cells for key in wanted)
    print("\n".join(_table(names, [cells[key] for key in wanted if key in cells])))
    if left:
        print(f"\n{left} of {len(wanted)} pieces are left: give the command again")


def _chunks(name: str, studies: int) -> int:
    return max(1, studies // (SLOWER if name.startswith("Bradley") else 1) // CHUNK)


def _simulate(name: str, count: int, chunk: int) -> Cell:
    generator = np.random.default_rng([count, chunk])
    covered = [one for _ in range(CHUNK) for one in STUDIES[name](generator, count)]
    return Cell(name, count, chunk, sum(covered), len(covered))


def _read(file: Path | None) -> list[Cell]:
    return [Cell(**line) for line in read_json_lines(file)] if file and file.is_file() else []


def _append(file: Path | None, cell: Cell) -> None:
    if file:
        append_json_lines(file, [cell._asdict()])


def _table(names: Sequence[str], cells: Sequence[Cell]) -> list[str]:
    head = [f"| interval of | {' | '.join(f'n = {count}' for count in COUNTS)} |", f"|---{'|---:' * len(COUNTS)}|"]
    rows = [[_share([cell for cell in cells if cell[:2] == (name, count)]) for count in COUNTS] for name in names]
    return [*head, *(f"| {name} | {' | '.join(row)} |" for name, row in zip(names, rows, strict=True))]


def _share(cells: Sequence[Cell]) -> str:
    """Of the intervals given; a dash where there is none."""
    intervals = sum(cell.intervals for cell in cells)
    return f"{100 * sum(cell.covered for cell in cells) / intervals:.1f}" if intervals else "–"


if __name__ == "__main__":
    main()
