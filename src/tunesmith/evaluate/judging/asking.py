"""Asking for many verdicts: from the ledger what is known, from the judge the rest, again what cannot be read.

A verdict is asked for up to `max_attempts` times, each time as another sample. What then is still unreadable is missing, with its reason;
so is what the budget did not allow.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from tunesmith.chat.budget import Budget
from tunesmith.chat.calls import Call, Outcome
from tunesmith.chat.ledger import Ledger
from tunesmith.chat.models import ChatModel
from tunesmith.chat.replies import UnreadableReplyError
from tunesmith.config import JudgeConfig
from tunesmith.evaluate.judging.verdicts import Choice, Verdict
from tunesmith.types import Message

Value = TypeVar("Value", Choice, float)

OUT_OF_BUDGET = "not asked: the budget is spent"
SAMPLES_APART = 1000
"""A repeat's samples are numbered from this times its number, so that more attempts or repeats leave the earlier ones valid."""


@dataclass(frozen=True, kw_only=True)
class Question(Generic[Value]):
    """What a judge is to decide."""

    key: str
    messages: tuple[Message, ...]
    read: Callable[[str], Verdict[Value]]
    """Raises UnreadableReplyError."""


@dataclass(kw_only=True)
class Answer(Generic[Value]):
    """What it said."""

    verdicts: list[Verdict[Value]] = field(default_factory=list)
    """One a repeat; empty: the verdict is missing."""
    failures: list[str] = field(default_factory=list)
    """Why a repeat has none."""

    @property
    def why_missing(self) -> str | None:
        return None if self.verdicts else self.failures[0]


@dataclass(kw_only=True)
class Tally:
    """What was asked, and how it went."""

    num_calls: int = 0
    num_from_earlier: int = 0
    """Calls that an earlier run had made."""
    failures: Counter[str] = field(default_factory=Counter)
    """Replies without a verdict, by reason; most of them are asked again."""
    is_out_of_budget: bool = False

    def report(self, budget: Budget) -> dict[str, Any]:
        return {
            "calls": self.num_calls,
            "calls_from_earlier": self.num_from_earlier,
            "replies_without_verdict": self.failures.total(),
            "failures": dict(self.failures.most_common()),
            "prompt_tokens": budget.spent.prompt_tokens,
            "completion_tokens": budget.spent.completion_tokens,
            "tokens_are_estimated": budget.spent.is_estimated,
            "cost": round(budget.cost, 6),
            "budget_spent": self.is_out_of_budget,
        }


OnReply = Callable[[Tally, Budget], None]


@dataclass(kw_only=True)
class Asker:
    """A judge, its ledger and its budget."""

    judge: ChatModel
    config: JudgeConfig
    ledger: Ledger
    budget: Budget
    on_reply: OnReply = lambda tally, budget: None
    tally: Tally = field(default_factory=Tally)

    def ask(self, questions: Sequence[Question[Value]]) -> list[Answer[Value]]:
        """An answer for every question, in their order.

        Raises:
            AssetError: the judge refuses or does not answer; what it answered is in the ledger.
        """
        answers: list[Answer[Value]] = [Answer() for _ in questions]
        for repeat in range(self.config.repeats):
            self._ask_once(questions, answers, repeat * SAMPLES_APART)
        return answers

    def _ask_once(self, questions: Sequence[Question[Value]], answers: Sequence[Answer[Value]], first_sample: int) -> None:
        reasons: dict[int, str] = dict.fromkeys(range(len(questions)), OUT_OF_BUDGET)
        for sample in range(first_sample, first_sample + self.config.max_attempts):
            calls = [Call(key=questions[i].key, messages=questions[i].messages, context=i, sample=sample) for i in reasons]
            for call, outcome in self._outcomes(calls):
                verdict, reason = self._read(questions[call.context], outcome)
                if verdict is None:
                    reasons[call.context] = reason
                else:
                    answers[call.context].verdicts.append(verdict)
                    del reasons[call.context]
            if not reasons or self.tally.is_out_of_budget:
                break
        for i, reason in reasons.items():
            answers[i].failures.append(reason)

    def _outcomes(self, calls: Sequence[Call]) -> Iterator[tuple[Call, Outcome]]:
        """Of every call that the budget allows, earlier ones first."""
        known = [(call, outcome) for call in calls if (outcome := self.ledger.find(call)) is not None]
        self.tally.num_calls += len(known)
        self.tally.num_from_earlier += len(known)
        yield from known
        earlier = {call.context for call, _ in known}
        new = [call for call in calls if call.context not in earlier]
        num_answered = 0
        for call, outcome in self.judge.answer(new, self.budget):
            self.ledger.append(call, outcome)
            self.tally.num_calls += 1
            num_answered += 1
            yield call, outcome
            self.on_reply(self.tally, self.budget)
        self.tally.is_out_of_budget |= num_answered < len(new)

    def _read(self, question: Question[Value], outcome: Outcome) -> tuple[Verdict[Value] | None, str]:
        if outcome.text is None:
            return None, self._count(outcome.error or "no reply")
        try:
            return question.read(outcome.text), ""
        except UnreadableReplyError as error:
            return None, self._count(str(error))

    def _count(self, reason: str) -> str:
        kind = kind_of(reason)
        self.tally.failures[kind] += 1
        return kind


def kind_of(reason: str) -> str:
    """A reason without its particulars, for counting."""
    return reason.partition(" (")[0].partition(": ")[0]
