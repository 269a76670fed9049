"""`tunesmith rank`: votes of people, judges or metrics to a ranking of models."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

import typer

from tunesmith.cli.command import verb
from tunesmith.cli.options import IncludeEarlier, Json
from tunesmith.cli.progress import waiting
from tunesmith.cli.terminal import harmless, print_json, print_wrapped, say, table

if TYPE_CHECKING:
    from tunesmith.evaluate.ranking.rank import Ranking
    from tunesmith.evaluate.votes import Vote


def rank(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILES...", help="Files of votes, or runs: votes of people and judges.", show_default=False)
    ],
    kind: Annotated[Literal["human", "judge", "metric"] | None, typer.Option(help="Use votes of this kind alone. [default: all]")] = None,
    by_metric: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Compare the runs' evaluations by a metric such as rouge_l, equal scores being ties. [default: no]"
        ),
    ] = None,
    confidence: Annotated[float | None, typer.Option(metavar="X", help="Of the intervals. [default: 0.95]")] = None,
    num_resamples: Annotated[
        int | None, typer.Option("--resamples", metavar="N", help="How often the votes are resampled for the intervals. [default: 1000]")
    ] = None,
    seed: Annotated[int | None, typer.Option(metavar="N", help="Of the resamples. [default: 0]")] = None,
    include_earlier: IncludeEarlier = False,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a page with a chart and who beats whom. [default: none]")] = None,
    as_json: Json = False,
) -> None:
    """Rank models by votes on their answers: Bradley-Terry with intervals, Elo, win rates, also at equal length.

    Votes on answers that a named run gave before it was evaluated again are left out, and counted; nothing is deleted.
    A file of votes is what `tunesmith rate` writes, or CSV or JSON Lines with the columns left, right and winner (left, right or tie).
    """
    from tunesmith.config import RankConfig, build

    config = build(RankConfig, {"confidence": confidence, "num_resamples": num_resamples, "seed": seed}, place="rank")
    with waiting("loading scipy and pandas"):
        from tunesmith.evaluate.ranking.rank import rank_votes
    gathered = [vote for vote in _gather(files, by_metric) if kind in (None, vote.kind)]
    votes, num_earlier, notes = _without_earlier(gathered, files, include_earlier=include_earlier)
    with waiting(f"resampling {len(votes):,} votes"):
        ranking = rank_votes(votes, config, notes=notes)
    if html:
        _write_page(html, ranking, files)
    if as_json:
        print_json({**ranking.to_json(), "num_earlier": num_earlier, "html": str(html) if html else None})
        return
    _print(ranking)
    if html:
        print_wrapped(f"page: {html}")


def _gather(paths: Sequence[Path], by_metric: str | None) -> list[Vote]:
    from tunesmith.errors import ConfigError
    from tunesmith.evaluate.contestants import load_contestants, metric_votes
    from tunesmith.evaluate.votes import read_votes
    from tunesmith.runs import is_run

    runs = [path for path in paths if is_run(path)]
    if by_metric is None:
        return read_votes([file for path in paths for file in (_votes_of(path) if path in runs else [path])], say=say)
    if not runs:
        raise ConfigError("--by-metric", "no run is named", expected="runs that were evaluated", remedy="name runs/… directories")
    votes = read_votes([path for path in paths if path not in runs], say=say)
    return [*votes, *metric_votes(load_contestants(runs), by_metric)]


class _Chosen(NamedTuple):
    """Votes to rank by."""

    votes: list[Vote]
    num_earlier: int
    """Votes on earlier answers, counted or not."""
    notes: list[str]


def _without_earlier(votes: list[Vote], paths: Sequence[Path], *, include_earlier: bool) -> _Chosen:
    """Votes on the newest answers of the runs named, or all.

    Raises:
        DataError: there are none but on earlier answers.
    """
    from tunesmith.errors import DataError
    from tunesmith.evaluate.earlier import earlier_sentence, newest_answers, part_votes
    from tunesmith.runs import is_run

    parted = part_votes(votes, newest_answers(path for path in paths if is_run(path)))
    num_earlier = len(parted.on_earlier)
    if votes and not parted.on_newest and not include_earlier:
        remedy = "vote on the newest answers with `tunesmith rate` or `tunesmith judge`, or count these with --include-earlier"
        raise DataError("rank", f"all {num_earlier:,} votes are on earlier answers", expected="votes on the newest", remedy=remedy)
    sentence = earlier_sentence(num_earlier, are_counted=include_earlier)
    return _Chosen(votes if include_earlier else parted.on_newest, num_earlier, [sentence] if sentence else [])


def _votes_of(path: Path) -> list[Path]:
    """Of people and of judges."""
    from tunesmith.errors import RunError
    from tunesmith.runs import open_run

    run = open_run(path)
    files = [file for file in (run.votes_file, run.judge_votes_file) if file.is_file()]
    if not files:
        remedy = f"vote with `tunesmith rate {path}`, have it judged with `tunesmith judge`, or compare evaluations with --by-metric"
        raise RunError(str(path), "nobody has voted on this run's answers", expected=f"votes in {run.votes_file.name}", remedy=remedy)
    return files


def _write_page(html: Path, ranking: Ranking, files: Sequence[Path]) -> None:
    from tunesmith.evaluate.ranking.page import render_ranking
    from tunesmith.files import write_text

    write_text(html, render_ranking(ranking, title=", ".join(path.name for path in files)))


def _print(ranking: Ranking) -> None:
    from tunesmith.evaluate.ranking import lines

    print_wrapped(lines.summary(ranking))
    for group in ranking.groups:
        print()
        rows = [lines.table_row(place, standing) for place, standing in enumerate(group, start=1)]
        for line in table(lines.HEAD, [[harmless(cell) for cell in row] for row in rows], right=(0, 2, 4, 5, 6, 7, 8)):
            print(line)
    print()
    for line in (*lines.lines_after_tables(ranking), "", *lines.method(ranking)):
        print_wrapped(line)


command = verb(
    rank,
    "FILES...",
    "tunesmith rank runs/faq",
    "tunesmith rank votes.csv more-votes.jsonl --kind human --html ranking.html",
    "tunesmith rank runs/faq runs/faq-longer --by-metric rouge_l",
)
