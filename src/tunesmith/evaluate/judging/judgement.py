"""What a judge found, as JSON in the run and as lines for terminal and page.

    evaluation/
      judgement.json       {"schema_version": 1, "judgements": [{"mode": "pairwise", "judge": …, "lines": […], …}]}
      judge_votes.jsonl    the verdicts of pairs as votes, which `tunesmith rank` reads
      judge_calls/         what was asked and said

A judgement belongs to the answers that were judged: after another evaluation of the run it is no longer read.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

from tunesmith.config import JudgeConfig
from tunesmith.evaluate.judging.bias import Share
from tunesmith.evaluate.judging.rubric import Rubric
from tunesmith.evaluate.judging.summary import MOST_MISSING, PairSummary, ScoreSummary
from tunesmith.evaluate.statistics import Interval
from tunesmith.evaluate.votes import Vote, read_votes
from tunesmith.evaluate.wording import counted, p_text, share
from tunesmith.files import file_sha256, write_json, write_json_lines
from tunesmith.runs import RunDirectory

SCHEMA_VERSION = 1


def read_judgements(run: RunDirectory) -> list[dict[str, Any]]:
    """The judgements of a run's latest evaluation, none where there are none. `lines` of each are for people."""
    if not run.judgement_file.is_file() or not run.evaluation_records_file.is_file():
        return []
    document = json.loads(run.judgement_file.read_text(encoding="utf-8"))
    current = file_sha256(run.evaluation_records_file)
    return [one for one in document["judgements"] if one["records"] == current and document["schema_version"] == SCHEMA_VERSION]


def write_judgement(run: RunDirectory, judgement: Mapping[str, Any], votes: Sequence[Vote]) -> None:
    """Put a judgement in the place of an earlier one of the same work, its votes in the place of the earlier ones."""
    others = [one for one in read_judgements(run) if one["work"] != judgement["work"]]
    if judgement["mode"] == "pairwise":
        write_json_lines(run.judge_votes_file, (vote.to_json() for vote in [*_other_votes(run, judgement), *votes]))
    write_json(run.judgement_file, {"schema_version": SCHEMA_VERSION, "judgements": [*others, judgement]})


def _other_votes(run: RunDirectory, judgement: Mapping[str, Any]) -> list[Vote]:
    earlier = read_votes([run.judge_votes_file]) if run.judge_votes_file.is_file() else []
    return [vote for vote in earlier if vote.rater != judgement["rater"] or not vote.models <= set(judgement["models"])]


def document_of(
    summaries: Sequence[PairSummary] | Sequence[ScoreSummary],
    examples: Sequence[Mapping[str, Any]],
    *,
    about: Mapping[str, Any],
    asked: Mapping[str, Any],
    rubric: Rubric,
    config: JudgeConfig,
) -> dict[str, Any]:
    """One judgement. `about`: who judged what; `asked`: the calls and what they took."""
    lines = [line for summary in summaries for line in _lines(summary, config)]
    return {
        **about,
        "mode": config.mode,
        "conclusions": [summary.conclusion for summary in summaries],
        "lines": [*lines, *_asked_lines(asked, summaries)],
        "summaries": [dataclasses.asdict(summary) for summary in summaries],
        "asked": dict(asked),
        "rubric": {**dataclasses.asdict(rubric), "fingerprint": rubric.fingerprint},
        "settings": config.model_dump(mode="json", exclude={"rubric"}),
        "examples": list(examples),
    }


def _lines(summary: PairSummary | ScoreSummary, config: JudgeConfig) -> list[str]:
    return _pair_lines(summary, config) if isinstance(summary, PairSummary) else _score_lines(summary)


def _pair_lines(summary: PairSummary, config: JudgeConfig) -> list[str]:
    lines = [summary.sentence]
    position, length = summary.position, summary.length
    if summary.inconsistent:
        how = "counted as ties" if config.inconsistent == "tie" else "neither win nor tie"
        lines.append(f"  inconsistent: {_of(position.inconsistent, 'pairs')}, whose two orders disagree; {how}")
    if summary.missing:
        lines.append(_missing_line(summary.missing, summary.num_examples, "pairs", summary.missing_reasons))
    if position.prefers_first.total:
        flips = f"{position.flips_to_first} pairs decided by the first place, {position.flips_to_second} by the second"
        firsts = _of(position.prefers_first, "verdicts")
        lines.append(f"  position: the answer shown first got {firsts}; {flips}, {p_text(position.p_value)}")
    if length.longer_wins.total:
        lines.append(f"  length: the longer answer won {_of(length.longer_wins, 'pairs')}{_controlled(summary)}")
    if summary.self_consistency is not None:
        lines.append(f"  samples of the same verdict agree in {100 * summary.self_consistency:.0f} %")
    return [*lines, *_people_lines(summary)]


def _controlled(summary: PairSummary) -> str:
    rate = summary.length.win_rate_at_equal_length
    if rate is None:
        return ""
    return f"; win rate of {summary.second} at equal length {rate:.2f}{_ends(summary.length.interval)}"


def _people_lines(summary: PairSummary) -> list[str]:
    found = summary.agreement
    if found is None:
        return []
    kappa = "not defined" if found.kappa is None else f"{found.kappa:.2f}{_ends(found.interval)}"
    left_out = f" ({found.num_left_out} more have no verdict that counts)" if found.num_left_out else ""
    return [f"  people: the same verdict on {found.num_equal} of {counted(found.num_pairs, 'pair')}{left_out}, Cohen's kappa {kappa}"]


def _score_lines(summary: ScoreSummary) -> list[str]:
    lines = [summary.sentence]
    for model, number in summary.missing.items():
        if number:
            lines.append(f"  {model}: {number:,} of {summary.num_examples:,} scores missing")
    lines += [f"  missing, {reason}: {number:,}" for reason, number in summary.missing_reasons.items()]
    return lines


def _missing_line(count: int, total: int, noun: str, reasons: Mapping[str, int]) -> str:
    why = "; ".join(f"{counted(number, 'verdict')}: {reason}" for reason, number in reasons.items())
    return f"  missing: {count:,} of {total:,} {noun} ({why})"


def _asked_lines(asked: Mapping[str, Any], summaries: Sequence[PairSummary] | Sequence[ScoreSummary]) -> list[str]:
    earlier = f", {asked['calls_from_earlier']:,} of them made by an earlier run" if asked["calls_from_earlier"] else ""
    lines = [f"{counted(asked['calls'], 'call')}{earlier}; {asked['replies_without_verdict']:,} gave no verdict"]
    lines += [f"  {counted(number, 'call')}: {reason}" for reason, number in asked["failures"].items()]
    about = " (estimated, the endpoint does not count)" if asked["tokens_are_estimated"] else ""
    cost = f", cost {asked['cost']:,.4f}" if asked["cost"] else ""
    lines.append(f"{asked['prompt_tokens']:,} prompt tokens and {asked['completion_tokens']:,} of replies{about}{cost}")
    if asked["budget_spent"]:
        lines.append("the budget is spent; the same command with a larger one goes on where this one stopped")
    elif any(_share_missing(summary) > MOST_MISSING for summary in summaries):
        lines.append("many verdicts are missing, and what this judge cannot judge need not be like the rest; a larger judge would help")
    return lines


def _share_missing(summary: PairSummary | ScoreSummary) -> float:
    if isinstance(summary, PairSummary):
        return summary.missing / summary.num_examples
    return max(summary.missing.values()) / summary.num_examples


def _of(part: Share, noun: str) -> str:
    """`12 of 60 pairs (20 % [11 %, 32 %])`."""
    ends = f" [{100 * part.interval.low:.0f} %, {100 * part.interval.high:.0f} %]" if part.interval else ""
    return f"{part.count:,} of {part.total:,} {noun} ({share(part.count, part.total)}{ends})"


def _ends(interval: Interval | None) -> str:
    return f" [{interval.low:.2f}, {interval.high:.2f}]" if interval else ""
