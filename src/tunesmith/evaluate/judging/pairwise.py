"""Which of two answers is better, asked in both orders.

Both orders saying the same is a win or a tie. Where they differ the judge goes by the order and not by the answers: the pair is
inconsistent, which is neither a win nor a tie (Zheng et al. 2023, section 4.2, count it as a tie; `--inconsistent tie` does so).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple

from tunesmith.evaluate.judging.asking import Answer, Asker, Question
from tunesmith.evaluate.judging.contests import Contest, Item
from tunesmith.evaluate.judging.prompts import PROMPT_VERSION, pair_prompt
from tunesmith.evaluate.judging.rubric import Rubric
from tunesmith.evaluate.judging.verdicts import Choice, read_choice
from tunesmith.evaluate.votes import Vote, answer_key
from tunesmith.evaluate.words import num_words

Winner = Literal["first", "second", "tie"]
PairVerdict = Literal["first", "second", "tie", "inconsistent", "missing"]
EVENLY_SPLIT = "its samples are evenly split"


class Ordered(NamedTuple):
    """The verdict of one order, in terms of the pair: `first` is the pair's first model, wherever its answer stood."""

    winner: Winner | None
    """None: missing."""
    reason: str
    """In the judge's words, or why there is no verdict."""
    agreement: float | None
    """Of repeated samples: the share of their pairs that are equal; None for a single one."""


@dataclass(frozen=True, kw_only=True)
class PairResult:
    """Two models' answers to one example."""

    example: str
    first: str
    second: str
    forward: Ordered
    """First model's answer shown first."""
    backward: Ordered
    """Second model's answer shown first."""
    first_words: int
    second_words: int
    answer_keys: tuple[str, str]

    @property
    def verdict(self) -> PairVerdict:
        if self.forward.winner is None or self.backward.winner is None:
            return "missing"
        return self.forward.winner if self.forward.winner == self.backward.winner else "inconsistent"

    @property
    def is_flipped(self) -> bool:
        """Both orders decided by the position alone."""
        return {self.forward.winner, self.backward.winner} == {"first", "second"}

    def to_json(self) -> dict[str, Any]:
        return {
            "example": self.example,
            "first": self.first,
            "second": self.second,
            "verdict": self.verdict,
            "forward": self.forward._asdict(),
            "backward": self.backward._asdict(),
        }


def judge_pairs(contest: Contest, rubric: Rubric, asker: Asker) -> list[PairResult]:
    """Every pair of models on every example, example by example; a model's answers are shown as often first as second.

    Raises:
        AssetError: see `Asker.ask`.
    """
    pairs = [(item, first, second) for item in contest.items for first, second in contest.pairs]
    shows_reference = not asker.config.hide_reference
    questions = [one for pair in pairs for one in _both_orders(*pair, rubric=rubric, shows_reference=shows_reference)]
    answers = asker.ask(questions)
    return [
        _result(item, first, second, answers[2 * i], answers[2 * i + 1])
        for i, (item, first, second) in enumerate(pairs)
    ]  # fmt: skip


def _both_orders(item: Item, first: str, second: str, *, rubric: Rubric, shows_reference: bool) -> Iterator[Question[Choice]]:
    for shown in ((first, second), (second, first)):
        messages, code = pair_prompt(
            item.conversation,
            item.answers[shown[0]],
            item.answers[shown[1]],
            rubric=rubric,
            reference=item.reference if shows_reference else None,
        )
        key = f"pairwise v{PROMPT_VERSION} {item.id} {shown[0]} | {shown[1]}"
        yield Question(key=key, messages=messages, read=partial(read_choice, code=code))


def _result(item: Item, first: str, second: str, forward: Answer[Choice], backward: Answer[Choice]) -> PairResult:
    texts = item.answers[first], item.answers[second]
    return PairResult(
        example=item.id,
        first=first,
        second=second,
        forward=_ordered(forward, {"A": "first", "B": "second", "tie": "tie"}),
        backward=_ordered(backward, {"A": "second", "B": "first", "tie": "tie"}),
        first_words=num_words(texts[0]),
        second_words=num_words(texts[1]),
        answer_keys=(answer_key(texts[0]), answer_key(texts[1])),
    )


def _ordered(answer: Answer[Choice], meaning: Mapping[Choice, Winner]) -> Ordered:
    """The most frequent verdict of the samples."""
    if missing := answer.why_missing:
        return Ordered(None, missing, None)
    values = [verdict.value for verdict in answer.verdicts]
    agreement = share_equal(values)
    (most, count), *others = Counter(values).most_common()
    if others and others[0][1] == count:
        return Ordered(None, EVENLY_SPLIT, agreement)
    reason = next(verdict.reason for verdict in answer.verdicts if verdict.value == most)
    return Ordered(meaning[most], reason, agreement)


def share_equal(values: Sequence[Choice]) -> float | None:
    """Of all pairs of values, those that are equal; None for fewer than two."""
    count = len(values)
    if count < 2:
        return None
    return sum(number * (number - 1) for number in Counter(values).values()) / (count * (count - 1))


def votes_of(results: Sequence[PairResult], *, rater: str, time: str) -> Iterator[Vote]:
    """A vote for each order that has a verdict: left is the answer that was shown first."""
    for result in results:
        keys = dict(zip((result.first, result.second), result.answer_keys, strict=True))
        words = {result.first: result.first_words, result.second: result.second_words}
        for ordered, left, right in ((result.forward, result.first, result.second), (result.backward, result.second, result.first)):
            if ordered.winner is None:
                continue
            winning = {"first": result.first, "second": result.second}.get(ordered.winner)
            yield Vote(
                left=left,
                right=right,
                winner="tie" if winning is None else "left" if winning == left else "right",
                kind="judge",
                example=result.example,
                rater=rater,
                left_words=words[left],
                right_words=words[right],
                left_answer=keys[left],
                right_answer=keys[right],
                reason=ordered.reason,
                time=time,
            )
