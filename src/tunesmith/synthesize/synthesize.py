"""From a recipe and a teacher to a file of new examples, resumable at any moment.

    synth/
      settings.json     what is being made, and of what; the same command goes on here, another one is refused
      calls.jsonl       every request's outcome as it came (chat/ledger.py)
      examples.jsonl    question, answer, origin: what was kept; `tunesmith prepare` reads it
      rejected.jsonl    what was not, and why
      report.json       counts, tokens, cost

Everything but the calls is made anew from the calls, so nothing that was paid for is lost and nothing is asked twice.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from tunesmith.chat.budget import Budget, Prices
from tunesmith.chat.calls import Call, Outcome
from tunesmith.chat.ledger import Ledger
from tunesmith.chat.models import ChatModel
from tunesmith.chat.replies import UnreadableReplyError, read_verdict
from tunesmith.config import SynthesizeConfig
from tunesmith.errors import RunError
from tunesmith.files import remove_leftovers, write_json, write_json_lines
from tunesmith.synthesize.candidates import Candidate, record_of
from tunesmith.synthesize.recipes.documents import Documents
from tunesmith.synthesize.recipes.recipe import Recipe
from tunesmith.synthesize.sieve import Sieve

EXAMPLES, REJECTED, REPORT, CALLS, SETTINGS = "examples.jsonl", "rejected.jsonl", "report.json", "calls.jsonl", "settings.json"

Ending = Literal["enough", "nothing more to ask", "budget spent", "nothing new came"]

PASSING = {
    "count",
    "concurrency",
    "timeout_seconds",
    "max_attempts",
    "budget_tokens",
    "budget_cost",
    "price_prompt",
    "price_completion",
    "api_key_variable",
}
"""Settings that do not decide what is asked: how many, how fast, for how much."""
BARREN_ROUNDS = 5
"""So many rounds in a row without a kept example end the work: the teacher repeats itself, or does not do as it is told."""


@dataclass(kw_only=True)
class Synthesis:
    """What came of it so far."""

    kept: list[Candidate] = field(default_factory=list)
    rejected: list[tuple[Candidate, str]] = field(default_factory=list)
    failures: list[tuple[str, str]] = field(default_factory=list)
    """Calls without a usable reply: key and why. Their examples are missing, never made up."""
    num_calls: int = 0
    num_from_earlier: int = 0
    """Calls that an earlier run had made."""
    ending: Ending = "nothing more to ask"

    def report(self, budget: Budget, teacher: str) -> dict[str, Any]:
        return {
            "kept": len(self.kept),
            "rejected": len(self.rejected),
            "reasons": dict(Counter(_kind(reason) for _, reason in self.rejected).most_common()),
            "calls": self.num_calls,
            "calls_from_earlier": self.num_from_earlier,
            "calls_without_examples": len(self.failures),
            "failures": dict(Counter(_kind(reason) for _, reason in self.failures).most_common()),
            "prompt_tokens": budget.spent.prompt_tokens,
            "completion_tokens": budget.spent.completion_tokens,
            "tokens_are_estimated": budget.spent.is_estimated,
            "cost": round(budget.cost, 6),
            "ending": self.ending,
            "teacher": teacher,
        }


def _kind(reason: str) -> str:
    """A reason without its particulars, for counting."""
    return reason.partition(" (")[0].partition(": ")[0]


def synthesize(
    recipe: Recipe,
    teacher: ChatModel,
    config: SynthesizeConfig,
    out: Path,
    *,
    made_of: Mapping[str, Any],
    train_prompts: Iterable[str] = (),
    test_prompts: Iterable[str] = (),
    on_progress: Callable[[Synthesis, Budget], None] | None = None,
) -> dict[str, Any]:
    """Ask until there are examples enough, nothing more to ask, or no budget; returns the report that is written.

    Args:
        recipe: what is asked.
        teacher: who answers.
        config: how many, and at what cost at most.
        out: the directory; where an interrupted run of the same work left it, it goes on.
        made_of: names and checksums of what it is made from, to know the same work again.
        train_prompts: near to none of these may a new one be.
        test_prompts: nor to any of these.
        on_progress: called after every reply.

    Raises:
        RunError: `out` holds other work, or another process is at it.
        AssetError: the endpoint refuses or does not answer; what was answered is kept.
    """
    _claim(out, {"recipe": recipe.name, "teacher": teacher.name, "settings": _lasting(config), "made_of": dict(made_of)})
    try:
        with FileLock(out / ".lock", timeout=0):
            remove_leftovers(out)
            sieve = Sieve(test_prompts=test_prompts, train_prompts=train_prompts, more=(recipe.fault,))
            return _Work(recipe, teacher, config, out, sieve, on_progress).run()
    except Timeout:
        raise RunError(str(out), "another process is at work in it", expected="one at a time", remedy="wait for it, or end it") from None


def _lasting(config: SynthesizeConfig) -> dict[str, Any]:
    """Settings that decide what is asked; the others may change when the work goes on."""
    return config.model_dump(exclude=PASSING)


def _claim(out: Path, settings: Mapping[str, Any]) -> None:
    file = out / SETTINGS
    if file.is_file():
        if json.loads(file.read_text(encoding="utf-8")) != json.loads(json.dumps(settings)):
            raise RunError(
                str(out), "it holds other work (see its settings.json)", expected="the same work, to go on", remedy="choose another --out"
            )
        return
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise RunError(str(out), "it exists already", expected="a new directory", remedy="choose another --out")
    out.mkdir(parents=True, exist_ok=True)
    write_json(file, settings)


class _Work:
    """One run of the work."""

    def __init__(
        self,
        recipe: Recipe,
        teacher: ChatModel,
        config: SynthesizeConfig,
        out: Path,
        sieve: Sieve,
        on_progress: Callable[[Synthesis, Budget], None] | None,
    ) -> None:
        self._recipe, self._teacher, self._config, self._out, self._sieve = recipe, teacher, config, out, sieve
        self._on_progress = on_progress
        self._done = Synthesis()
        prices = Prices(prompt=config.price_prompt, completion=config.price_completion)
        self._budget = Budget(
            max_tokens=config.budget_tokens, max_cost=config.budget_cost, prices=prices, tokens_per_reply=config.max_new_tokens
        )

    def run(self) -> dict[str, Any]:
        try:
            with Ledger(self._out / CALLS, self._teacher.name) as ledger:
                self._budget.count(ledger.spent_before)
                barren = 0
                for calls in self._recipe.rounds(self._done.kept):
                    before = len(self._done.kept)
                    self._go_through(calls, ledger)
                    barren = barren + 1 if len(self._done.kept) == before else 0
                    if len(self._done.kept) >= self._config.count:
                        self._done.ending = "enough"
                    elif barren == BARREN_ROUNDS and self._done.ending != "budget spent":
                        self._done.ending = "nothing new came"
                    if self._done.ending != "nothing more to ask":
                        break
        finally:  # whatever happened: what was kept is there to be looked at
            report = self._write()
        return report

    def _go_through(self, calls: Sequence[Call], ledger: Ledger) -> None:
        """Ask a round, then take its replies in the order of the calls, whichever came first."""
        outcomes = self._ask(calls, ledger)
        proposals: list[Candidate] = []
        for call in calls:
            if call.key in outcomes:
                proposals += self._read(call, outcomes[call.key])
        confirmed = self._verified(proposals, ledger)
        for candidate in confirmed:
            if len(self._done.kept) >= self._config.count:
                return
            reason = self._sieve.refusal(candidate)
            if reason is None:
                self._done.kept.append(candidate)
            else:
                self._done.rejected.append((candidate, reason))

    def _ask(self, calls: Sequence[Call], ledger: Ledger) -> dict[str, Outcome]:
        outcomes = {call.key: known for call in calls if (known := ledger.find(call)) is not None}
        self._done.num_from_earlier += len(outcomes)
        self._done.num_calls += len(outcomes)
        new = [call for call in calls if call.key not in outcomes]
        for call, outcome in self._teacher.answer(new, self._budget):
            ledger.append(call, outcome)
            outcomes[call.key] = outcome
            self._done.num_calls += 1
            if self._on_progress:
                self._on_progress(self._done, self._budget)
        if len(outcomes) < len(calls):
            self._done.ending = "budget spent"
        return outcomes

    def _read(self, call: Call, outcome: Outcome) -> list[Candidate]:
        if outcome.text is None:
            self._done.failures.append((call.key, outcome.error or "no reply"))
            return []
        try:
            candidates = self._recipe.candidates(call, outcome.text)
        except UnreadableReplyError as error:
            self._done.failures.append((call.key, f"unreadable: {error}"))
            return []
        about = {"recipe": self._recipe.name, "call": call.key, "teacher": self._teacher.name}
        return [
            Candidate(prompt=one.prompt, completion=one.completion, origin={**about, **one.origin}, fields=one.fields) for one in candidates
        ]

    def _verified(self, proposals: Sequence[Candidate], ledger: Ledger) -> list[Candidate]:
        """Of documents, what the teacher confirms; an unreadable or missing verdict confirms nothing."""
        recipe = self._recipe
        if not (self._config.verify and isinstance(recipe, Documents)):
            return list(proposals)
        sound = []
        for candidate in proposals:  # what fails anyway is not paid for
            if reason := recipe.fault(candidate):
                self._done.rejected.append((candidate, reason))
            else:
                sound.append((candidate, recipe.verification(candidate)))
        outcomes = self._ask([call for _, call in sound], ledger)
        confirmed = []
        for candidate, call in sound:
            verdict = _verdict(outcomes.get(call.key))
            if verdict == "yes":
                confirmed.append(candidate)
            else:
                reason = "the teacher does not confirm that the passage says it" if verdict == "no" else f"not verified: {verdict}"
                self._done.rejected.append((candidate, reason))
        return confirmed

    def _write(self) -> dict[str, Any]:
        report = self._done.report(self._budget, self._teacher.name)
        write_json_lines(self._out / EXAMPLES, map(record_of, self._done.kept))
        write_json_lines(self._out / REJECTED, ({"reason": reason, **record_of(one)} for one, reason in self._done.rejected))
        write_json(self._out / REPORT, report)
        return report


def _verdict(outcome: Outcome | None) -> str:
    """`yes`, `no`, or why there is none."""
    if outcome is None or outcome.text is None:
        return "no verdict came"
    try:
        return "yes" if read_verdict(outcome.text) else "no"
    except UnreadableReplyError as error:
        return str(error)
