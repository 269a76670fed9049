"""`tunesmith rate`: an expert compares or scores held-out answers at the keyboard, blind."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tunesmith.cli.command import verb
from tunesmith.cli.options import Json
from tunesmith.cli.terminal import harmless, print_json, print_wrapped, say, suggest
from tunesmith.errors import ConfigError

if TYPE_CHECKING:
    from tunesmith.evaluate.contestants import Contestant
    from tunesmith.evaluate.rating.questions import Question, Questions
    from tunesmith.evaluate.rating.session import Sitting

Mode = Literal["pairs", "rubric"]
_WINNERS: Mapping[str, Literal["left", "right", "tie"]] = {"1": "left", "2": "right", "t": "tie"}


@dataclass(frozen=True, kw_only=True)
class _Sheet:
    """Where this rater's judgements go."""

    mode: Mode
    rater: str
    votes_file: Path
    ratings_file: Path


def rate(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Evaluated runs; base and tuned answers take part.", show_default=False)
    ],
    mode: Annotated[Mode, typer.Option(help="Choose between two answers, or score one at a time from 1 to 5.")] = "pairs",
    rater: Annotated[str | None, typer.Option(metavar="NAME", help="Who is rating. [default: the login name]")] = None,
    votes: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where votes, or scores, are kept. [default: beside the first run's evaluation]")
    ] = None,
    limit: Annotated[int | None, typer.Option(metavar="N", min=1, help="Ask at most this many questions. [default: all]")] = None,
    show_reference: Annotated[bool, typer.Option("--show-reference", help="Show the reference answer too.")] = False,
    summary: Annotated[bool, typer.Option("--summary", help="Ask nothing, and sum up what was said so far.")] = False,
    seed: Annotated[int, typer.Option(metavar="N", help="Of the order and the sides.")] = 0,
    as_json: Json = False,
) -> None:
    """Let an expert judge held-out answers without knowing whose they are, and say how far raters agree.

    Keys: 1 or 2 for the better answer, t for a tie (with --mode rubric: 1 to 5), s skips, u undoes the latest, q quits.
    What was judged is kept at once; the next call goes on where this one ended. `tunesmith rank` reads the votes.
    """
    from tunesmith.evaluate.contestants import load_contestants
    from tunesmith.runs import open_run

    contestants, first = load_contestants(runs), open_run(runs[0])
    sheet = _Sheet(
        mode=mode,
        rater=rater.strip() if rater is not None else _login_name(),
        votes_file=votes if votes and mode == "pairs" else first.votes_file,
        ratings_file=votes if votes and mode == "rubric" else first.ratings_file,
    )
    if not sheet.rater:
        raise ConfigError("--rater", "the name is empty", expected="a name", remedy="give one with --rater NAME")
    sitting = None if summary else _sit(contestants, sheet, limit=limit, seed=seed, show_reference=show_reference)
    _report(sheet, runs, sitting, as_json=as_json)


def _login_name() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without an entry in the password file
        return ""


def _sit(contestants: list[Contestant], sheet: _Sheet, *, limit: int | None, seed: int, show_reference: bool) -> Sitting:
    from tunesmith.evaluate.rating.session import PAIR_KEYS, RUBRIC_KEYS, Desk, hold_session

    questions = _questions(contestants, sheet, seed)
    asked = questions.asked[:limit]
    _announce(questions, len(asked), sheet)
    desk = Desk(
        show=lambda question, number, total: _show(question, number, total, show_reference=show_reference),
        read=_reader("1, 2, t(ie)" if sheet.mode == "pairs" else "1 to 5"),
        save=_saver(sheet),
        say=lambda text: say(harmless(text)),
    )
    sitting = hold_session(asked, PAIR_KEYS if sheet.mode == "pairs" else RUBRIC_KEYS, desk)
    say(f"{sitting.num_answered:,} judged, {sitting.num_skipped:,} skipped, {len(questions.asked) - sitting.num_answered:,} not judged yet")
    return sitting


def _questions(contestants: list[Contestant], sheet: _Sheet, seed: int) -> Questions:
    from tunesmith.evaluate.rating.questions import pair_questions, rubric_questions
    from tunesmith.evaluate.rating.ratings import read_ratings
    from tunesmith.evaluate.votes import read_votes

    if sheet.mode == "pairs":
        earlier = read_votes([sheet.votes_file], say=say) if sheet.votes_file.is_file() else []
        return pair_questions(contestants, earlier, rater=sheet.rater, seed=seed)
    return rubric_questions(contestants, read_ratings(sheet.ratings_file, say=say), rater=sheet.rater, seed=seed)


def _announce(questions: Questions, num_asked: int, sheet: _Sheet) -> None:
    from tunesmith.evaluate.rating.ratings import SCORES
    from tunesmith.evaluate.wording import counted

    say(f"{counted(num_asked, 'question')} for {harmless(sheet.rater)}; {questions.num_done:,} were answered before")
    if questions.num_equal:
        say(f"not asked: {counted(questions.num_equal, 'pair')} of answers that are the same text")
    if sheet.mode == "rubric":
        for score, meaning in SCORES.items():
            say(f"  {score}  {meaning}")


def _reader(choices: str) -> Callable[[], str | None]:
    """Single keys at a terminal, else lines of the standard input."""
    if sys.stdin.isatty():

        def press() -> str | None:
            say(f"[{choices}, s(kip), u(ndo), q(uit)]")
            try:
                return typer.getchar()
            except EOFError:  # Ctrl-D
                return None

        return press
    return lambda: sys.stdin.readline() or None


def _show(question: Question, number: int, total: int, *, show_reference: bool) -> None:
    say(f"\n──── {number} of {total} ────")
    for message in question.record.messages:
        _show_text(message.role, message.content)
    if show_reference:
        _show_text("reference", question.record.reference)
    for place, answer in enumerate(question.answers, start=1):
        _show_text(f"answer {place}" if len(question.answers) > 1 else "answer", answer.completion or "(nothing)")


def _show_text(heading: str, text: str) -> None:
    """Text of a user or a model, which can neither steer the terminal nor be read as markup."""
    say(f"\n{heading}:")
    for line in harmless(text).split("\n"):
        say(f"    {line}")


def _saver(sheet: _Sheet) -> Callable[[Question, str], None]:
    from tunesmith.evaluate.contestants import make_vote
    from tunesmith.evaluate.rating.ratings import Rating, append_ratings
    from tunesmith.evaluate.votes import answer_key, append_votes, time_now

    def save_vote(question: Question, key: str) -> None:
        winner = _WINNERS[key]
        made = make_vote(
            question.models, question.answers, winner=winner, example=question.record.id, kind="human", rater=sheet.rater, time=time_now()
        )
        append_votes(sheet.votes_file, [made])

    def save_rating(question: Question, key: str) -> None:
        answer = answer_key(question.answers[0].completion)
        model, example = question.models[0], question.record.id
        made = Rating(model=model, example=example, score=int(key), rater=sheet.rater, answer=answer, time=time_now())
        append_ratings(sheet.ratings_file, [made])

    return save_vote if sheet.mode == "pairs" else save_rating


def _report(sheet: _Sheet, runs: list[Path], sitting: Sitting | None, *, as_json: bool) -> None:
    """Now the names are told."""
    from tunesmith.config import RankConfig
    from tunesmith.evaluate.rating.ratings import read_ratings
    from tunesmith.evaluate.rating.summary import summarise, summary_lines
    from tunesmith.evaluate.votes import read_votes

    given = read_votes([sheet.votes_file]) if sheet.votes_file.is_file() else []
    summed = summarise(given, read_ratings(sheet.ratings_file), RankConfig())
    if as_json:
        files = {"votes": str(sheet.votes_file), "ratings": str(sheet.ratings_file), "rater": sheet.rater}
        print_json({**files, "sitting": sitting._asdict() if sitting else None, **summed.to_json()})
        return
    for line in summary_lines(summed):
        print_wrapped(line)
    if not summed.num_votes and not summed.num_ratings:
        print_wrapped("nothing was judged yet")
    elif summed.num_votes:
        suggest(["rank", sheet.votes_file if sheet.votes_file.parent != runs[0] / "evaluation" else runs[0]])


command = verb(
    rate,
    "RUN...",
    "tunesmith rate runs/faq",
    "tunesmith rate runs/faq --mode rubric --rater ana --limit 20",
    "tunesmith rate runs/faq runs/faq-longer --votes votes.jsonl",
    "tunesmith rate runs/faq --summary --json",
)
