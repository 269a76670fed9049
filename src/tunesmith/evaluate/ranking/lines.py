"""A ranking in words, for the terminal and the page."""

from __future__ import annotations

from collections.abc import Iterator

from tunesmith.evaluate.ranking.rank import Lead, Ranking, Standing
from tunesmith.evaluate.ranking.win_rates import FEWEST_LENGTHS, Duel
from tunesmith.evaluate.statistics import Interval
from tunesmith.evaluate.wording import bracketed, counted

HEAD = ("", "model", "rating", "interval", "win rate", "won", "tied", "lost", "Elo", "Elo, other orders")
MOST_DUELS = 15
"""Pairs shown in the terminal; the page and --json have all."""


def table_row(place: int, standing: Standing) -> list[str]:
    """Cells under `HEAD`."""
    return [
        str(place),
        standing.model,
        f"{standing.rating:.0f}",
        span(standing.interval),
        percent(standing.win_rate),
        *(f"{count:,}" for count in (standing.wins, standing.ties, standing.losses)),
        f"{standing.elo:.1f}",
        f"{standing.elo_range.low:.1f} to {standing.elo_range.high:.1f}",
    ]


def span(interval: Interval | None) -> str:
    """`986 to 1086`; a dash where there is none."""
    return f"{interval.low:.0f} to {interval.high:.0f}" if interval else "–"


def percent(share: float) -> str:
    """`62 %`."""
    return f"{100 * share:.0f} %"


def summary(ranking: Ranking) -> str:
    """`140 votes (31 ties) on 4 models, 140 examples, by 2 raters`."""
    parts = [f"{counted(ranking.num_votes, 'vote')} ({counted(ranking.num_ties, 'tie')}) on {counted(len(ranking.models), 'model')}"]
    parts += [counted(ranking.num_examples, "example")] if ranking.num_examples else []
    parts += [f"by {counted(ranking.num_raters, 'rater')}"] if ranking.num_raters else []
    return ", ".join(parts)


def lead_sentence(lead: Lead) -> str:
    """Whether two neighbours in the table can be told apart."""
    figures = f"{lead.difference:+.0f}" + (f" {bracketed(lead.interval, 0)}" if lead.interval else "")
    if lead.is_sure:
        return f"{lead.ahead} is ahead of {lead.behind}: {figures}"
    if lead.interval is None:
        return f"cannot tell {lead.ahead} from {lead.behind}: {figures}, too few examples for an interval"
    return f"cannot tell {lead.ahead} from {lead.behind}: {figures}"


def duel_sentence(duel: Duel) -> str:
    """One pair's win rate, and at equal length where lengths are known."""
    rate = f"{percent(duel.win_rate)} [{100 * duel.interval.low:.0f}, {100 * duel.interval.high:.0f}]"
    text = f"{duel.first} against {duel.second}: {rate} of {counted(duel.wins + duel.ties + duel.losses, 'vote')}"
    if duel.num_lengths < FEWEST_LENGTHS or duel.mean_words is None:
        return text
    words = f"(mean words {duel.mean_words[0]:.0f} and {duel.mean_words[1]:.0f})"
    if duel.controlled_win_rate is None or duel.controlled_interval is None:
        return f"{text}; at equal length not known: one side is nearly always longer, or the examples are few {words}"
    low, high = duel.controlled_interval
    return f"{text}; at equal length {percent(duel.controlled_win_rate)} [{100 * low:.0f}, {100 * high:.0f}] {words}"


def lines_after_tables(ranking: Ranking) -> Iterator[str]:
    """Leads, duels and notes, one sentence each."""
    yield from map(lead_sentence, ranking.leads)
    yield from map(duel_sentence, ranking.duels[:MOST_DUELS])
    if len(ranking.duels) > MOST_DUELS:
        yield f"and {len(ranking.duels) - MOST_DUELS:,} more pairs, in --html and --json"
    yield from (f"note: {note}" for note in ranking.notes)


def method(ranking: Ranking) -> Iterator[str]:
    """How it was done, a sentence each."""
    yield (
        f"Rating: Bradley-Terry, a tie half a win, on Elo's scale with 1000 as the mean; {percent(ranking.confidence)} intervals by "
        "resampling examples with all their votes, not corrected for the number of models."
    )
    yield (
        "Elo starts at 1000 with K 4 and depends on the order of the votes: it is given for the order in the files, and as a range over "
        "100 random orders."
    )
    if any(duel.controlled_win_rate is not None for duel in ranking.duels):
        yield (
            "At equal length: logistic regression of the votes on the difference in words (AlpacaEval 2, Dubois et al. 2024, without its "
            "term for the prompt)."
        )
