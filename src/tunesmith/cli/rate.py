"""`tunesmith rate`: an expert compares or scores held-out answers at the keyboard, blind."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tunesmith.cli.command import verb
from tunesmith.cli.options import IncludeEarlier, Json
from tunesmith.cli.terminal import harmless, print_json, print_wrapped, say, suggest
from tunesmith.errors import ConfigError

if TYPE_CHECKING:
    from tunesmith.evaluate.contestants import Contestant
    from tunesmith.evaluate.rating.questions import Question, Questions
    from tunesmith.evaluate.rating.session import Sitting
    from tunesmith.evaluate.rating.sheet import Sheet

Mode = Literal["pairs", "rubric"]


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
    include_earlier: IncludeEarlier = False,
    seed: Annotated[int, typer.Option(metavar="N", help="Of the order and the sides.")] = 0,
    as_json: Json = False,
) -> None:
    """Let an expert judge held-out answers without knowing whose they are, and say how far raters agree.

    Keys: 1 or 2 for the better answer, t for a tie (with --mode rubric: 1 to 5), s skips, u undoes the latest, q quits.
    What was judged is kept at once; the next call goes on where this one ended. `tunesmith rank` reads the votes.
    """
    from tunesmith.evaluate.contestants import load_contestants
    from tunesmith.evaluate.rating.sheet import Sheet
    from tunesmith.runs import open_run

    contestants, first = load_contestants(runs), open_run(runs[0])
    sheet = Sheet(
        mode=mode,
        rater=rater.strip() if rater is not None else _login_name(),
        votes_file=votes if votes and mode == "pairs" else first.votes_file,
        ratings_file=votes if votes and mode == "rubric" else first.ratings_file,
    )
    if not sheet.rater:
        raise ConfigError("--rater", "the name is empty", expected="a name", remedy="give one with --rater NAME")
    sitting = None if summary else _sit(contestants, sheet, limit=limit, seed=seed, show_reference=show_reference)
    _report(sheet, runs, sitting, include_earlier=include_earlier, as_json=as_json)


def _login_name() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without an entry in the password file
        return ""


def _sit(contestants: list[Contestant], sheet: Sheet, *, limit: int | None, seed: int, show_reference: bool) -> Sitting:
    from tunesmith.evaluate.rating.session import Desk, hold_session

    questions = sheet.questions(contestants, seed=seed, say=say)
    asked = questions.asked[:limit]
    _announce(questions, len(asked), sheet)
    desk = Desk(
        show=lambda question, number, total: _show(question, number, total, show_reference=show_reference),
        read=_reader("1, 2, t(ie)" if sheet.mode == "pairs" else "1 to 5"),
        save=sheet.save,
        say=lambda text: say(harmless(text)),
    )
    sitting = hold_session(asked, sheet.keys, desk)
    say(f"{sitting.num_answered:,} judged, {sitting.num_skipped:,} skipped, {len(questions.asked) - sitting.num_answered:,} not judged yet")
    return sitting


def _announce(questions: Questions, num_asked: int, sheet: Sheet) -> None:
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


def _report(sheet: Sheet, runs: list[Path], sitting: Sitting | None, *, include_earlier: bool, as_json: bool) -> None:
    """Now the names are told."""
    from tunesmith.config import RankConfig
    from tunesmith.evaluate.earlier import earlier_sentence, newest_answers, part_ratings, part_votes
    from tunesmith.evaluate.rating.ratings import read_ratings
    from tunesmith.evaluate.rating.summary import summarise, summary_lines
    from tunesmith.evaluate.votes import read_votes

    newest = newest_answers(runs)
    given = read_votes([sheet.votes_file]) if sheet.votes_file.is_file() else []
    human, scored = [vote for vote in given if vote.kind == "human"], read_ratings(sheet.ratings_file)
    votes, ratings = part_votes(human, newest), part_ratings(scored, newest)
    chosen = (human, scored) if include_earlier else (votes.on_newest, ratings.on_newest)
    summed = summarise(*chosen, RankConfig())
    num_votes, num_ratings = len(votes.on_earlier), len(ratings.on_earlier)
    sentence = earlier_sentence(num_votes, num_ratings, are_counted=include_earlier)
    if as_json:
        files = {"votes": str(sheet.votes_file), "ratings": str(sheet.ratings_file), "rater": sheet.rater}
        about = {"sitting": sitting._asdict() if sitting else None, "num_earlier": {"votes": num_votes, "ratings": num_ratings}}
        print_json({**files, **about, **summed.to_json()})
        return
    for line in summary_lines(summed):
        print_wrapped(line)
    if sentence:
        print_wrapped(f"note: {sentence}")
    elif not summed.num_votes and not summed.num_ratings:
        print_wrapped("nothing was judged yet")
    if summed.num_votes:
        suggest(["rank", sheet.votes_file if sheet.votes_file.parent != runs[0] / "evaluation" else runs[0]])


command = verb(
    rate,
    "RUN...",
    "tunesmith rate runs/faq",
    "tunesmith rate runs/faq --mode rubric --rater ana --limit 20",
    "tunesmith rate runs/faq runs/faq-longer --votes votes.jsonl",
    "tunesmith rate runs/faq --summary --json",
)
