"""What raters are asked of and what they said so far, read from the files of evaluated runs; nothing here knows of a page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

from tunesmith.config import RankConfig
from tunesmith.errors import TunesmithError
from tunesmith.evaluate.contestants import Contestant, load_contestants
from tunesmith.evaluate.earlier import newest_answers, part_ratings, part_votes
from tunesmith.evaluate.ranking.lines import lead_sentence, summary
from tunesmith.evaluate.ranking.rank import Ranking, rank_votes
from tunesmith.evaluate.rating.agreement import agreement, vote_table
from tunesmith.evaluate.rating.ratings import read_ratings
from tunesmith.evaluate.rating.sheet import Mode, Sheet
from tunesmith.evaluate.rating.summary import RatingSummary, summarise, summary_lines
from tunesmith.evaluate.votes import Vote, latest_votes, read_votes
from tunesmith.evaluate.wording import counted
from tunesmith.runs import RunDirectory
from tunesmith.studio.readable import Unreadable, parse
from tunesmith.studio.reading import Library

Value = TypeVar("Value")
MOST_BYTES = 512 * 1024 * 1024
"""Of one file of answers or votes."""


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What was said so far, models named."""

    ranking: Ranking | None
    """Of votes; None where there are none, or scores are given instead."""
    lines: tuple[str, ...]
    """In words; empty where nothing was judged."""


def make_sheet(runs: Sequence[RunDirectory], *, mode: Mode, rater: str) -> Sheet:
    """The same files as `tunesmith rate RUN...` writes: beside the first run's evaluation."""
    return Sheet(mode=mode, rater=rater, votes_file=runs[0].votes_file, ratings_file=runs[0].ratings_file)


def contestants(library: Library, runs: Sequence[RunDirectory]) -> list[Contestant]:
    """The models of the runs and what they answered, kept until a run is evaluated again.

    Raises:
        Unreadable: the records are not as an evaluation writes them.
        TunesmithError: see `load_contestants`.
    """
    return _kept(library, runs, "contestants", lambda: load_contestants([run.path for run in runs], parse=parse))


def standing(library: Library, runs: Sequence[RunDirectory], sheet: Sheet) -> Standing:
    """What all raters said of the runs' newest answers, kept until somebody says more. Resampling takes up to a second.

    Raises:
        Unreadable, TunesmithError: a file is damaged.
    """
    if not sheet.file.is_file():
        return Standing(ranking=None, lines=())
    of_mode = _vote_standing if sheet.mode == "pairs" else _score_standing
    kind = f"standing of {[str(run.path) for run in runs]} {_stamps(runs)}"
    return library.document(sheet.file, kind, lambda file: _readable(file, lambda: of_mode(runs, file)))


def _vote_standing(runs: Sequence[RunDirectory], file: Path) -> Standing:
    given = latest_votes(vote for vote in read_votes([file]) if vote.kind == "human")
    votes = part_votes(given, newest_answers([run.path for run in runs]))
    notes = _earlier(len(votes.on_earlier), "vote")
    if not votes.on_newest:
        return Standing(ranking=None, lines=tuple(notes))
    config = RankConfig()
    ranking = rank_votes(votes.on_newest, config)
    said = _sentences(votes.on_newest, ranking, config)
    return Standing(ranking=ranking, lines=(summary(ranking), *said, *notes, *ranking.notes))


def _sentences(votes: Sequence[Vote], ranking: Ranking, config: RankConfig) -> Iterator[str]:
    yield from map(lead_sentence, ranking.leads)
    agreed = agreement(vote_table(votes), "nominal", confidence=config.confidence, num_resamples=config.num_resamples, seed=config.seed)
    yield from summary_lines(
        RatingSummary(
            num_votes=len(votes),
            duels=ranking.duels,
            vote_agreement=agreed,
            num_ratings=0,
            scores=(),
            differences=(),
            rating_agreement=None,
        )
    )


def _score_standing(runs: Sequence[RunDirectory], file: Path) -> Standing:
    ratings = part_ratings(read_ratings(file), newest_answers([run.path for run in runs]))
    said = summary_lines(summarise([], ratings.on_newest, RankConfig())) if ratings.on_newest else ()
    return Standing(ranking=None, lines=(*said, *_earlier(len(ratings.on_earlier), "score")))


def _earlier(count: int, noun: str) -> list[str]:
    """Votes on what the run said before it was evaluated again."""
    return [f"{counted(count, noun)} on answers of an earlier evaluation: left out"] if count else []


def _kept(library: Library, runs: Sequence[RunDirectory], kind: str, read: Callable[[], Value]) -> Value:
    key = f"{kind} of {[str(run.path) for run in runs]} {_stamps(runs)}"
    return library.document(runs[0].evaluation_records_file, key, lambda file: _readable(file, read))


class _Seen(NamedTuple):
    size: int
    changed_ns: int


def _stamps(runs: Sequence[RunDirectory]) -> list[_Seen | None]:
    """Of the answers of every run: `Library.document` looks at one file alone."""
    return [_seen(run.evaluation_records_file) for run in runs]


def _seen(file: Path) -> _Seen | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return _Seen(found.st_size, found.st_mtime_ns)


def _readable(file: Path, read: Callable[[], Value]) -> Value:
    """What somebody else's hand wrote may be JSON, and yet of any type."""
    seen = _seen(file)
    if seen is not None and seen.size > MOST_BYTES:
        raise Unreadable(f"{file.name} has {seen.size:,} bytes, more than the {MOST_BYTES:,} that are read")
    with of_this_making(file.name):
        return read()


@contextmanager
def of_this_making(name: str) -> Iterator[None]:
    """Records of other types than ours are told in a sentence.

    Raises:
        Unreadable: they are.
    """
    try:
        yield
    except TunesmithError:  # those are ValueErrors too, and say what is wrong
        raise
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise Unreadable(f"{name} is not as tunesmith writes it ({type(error).__name__})") from error
