"""Does an answer contradict its reference? A question for a model that judges, asked only where a user names one.

    judge = Judge(model=choose_chat_model(config, say), config=config)
    verdicts, notes = judge_contradictions(records, judge, run.analysis_dir)

The verdict is strict: the judge has to name one statement of the reference and one of the answer that cannot both be true, and the
latter has to stand in the answer word for word. A reply that cannot be read is no verdict, is counted, and said. Every reply is on the disk
(`judge.jsonl`) before the next one is used, so that nothing is asked twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tunesmith.chat.budget import Budget, Prices
from tunesmith.chat.calls import Call, Outcome
from tunesmith.chat.ledger import Ledger
from tunesmith.chat.models import ChatModel
from tunesmith.chat.replies import UnreadableReplyError, first_json
from tunesmith.config import ChatConfig
from tunesmith.evaluate.records import EvaluationRecord
from tunesmith.evaluate.scorers import exact_match
from tunesmith.evaluate.words import normalise
from tunesmith.types import Message

CALLS = "judge.jsonl"
INSTRUCTIONS = """\
Below are a question, the right answer to it, and another answer. Does the other answer contradict the right one: does it state
something that cannot be true if the right answer is true? Missing, additional, vague or differently worded content is no contradiction.

If there is a contradiction, copy the sentence or words of each answer that cannot both be true, exactly as they stand there.

Reply with nothing but a JSON object: {"contradicts": true or false, "right_answer_says": "…", "other_answer_says": "…"}"""


@dataclass(frozen=True, kw_only=True)
class Judge:
    """Who is asked, and for how much at most."""

    model: ChatModel
    config: ChatConfig
    on_progress: Callable[[int, int], None] | None = None
    """Told how many of how many are judged."""


def judge_contradictions(
    records: Sequence[EvaluationRecord], judge: Judge, directory: Path
) -> tuple[dict[tuple[str, str], str], tuple[str, ...]]:
    """Ask about every answer that says something and is not its reference.

    Returns:
        (example's id, model's label) -> what contradicts what; and notes: how many were not judged, and why.

    Raises:
        AssetError: the endpoint refuses or does not answer; what was answered is kept.
    """
    calls = [_call(record, label) for record in records for label in record.answers if _is_asked(record, label)]
    outcomes = _ask(calls, judge, directory)
    verdicts: dict[tuple[str, str], str] = {}
    num_missing = len(calls) - len(outcomes)
    for call in calls:
        record, label = call.context
        try:
            verdict = _read(outcomes[call.key], record.answer(label).completion) if call.key in outcomes else None
        except UnreadableReplyError:
            num_missing += 1
        else:
            if verdict:
                verdicts[record.id, label] = verdict
    missing = f"; {num_missing:,} have no verdict and count as not judged" if num_missing else ""
    return verdicts, (f"contradictions: {len(calls) - num_missing:,} of {len(calls):,} answers judged by {judge.model.name}{missing}",)


def _is_asked(record: EvaluationRecord, label: str) -> bool:
    said = record.answer(label).completion
    return bool(normalise(said)) and bool(normalise(record.reference)) and not exact_match(said, record.reference)


def _call(record: EvaluationRecord, label: str) -> Call:
    texts = {"Question": record.prompt, "Right answer": record.reference, "Other answer": record.answer(label).completion}
    asked = "\n\n".join(f"{name}:\n{text}" for name, text in texts.items())
    messages = (Message(role="system", content=INSTRUCTIONS), Message(role="user", content=asked))
    return Call(key=f"contradiction {record.id} {label}", messages=messages, context=(record, label))


def _ask(calls: Sequence[Call], judge: Judge, directory: Path) -> dict[str, Outcome]:
    """By the call's key; what an earlier analysis was told is not asked again."""
    config = judge.config
    prices = Prices(prompt=config.price_prompt, completion=config.price_completion)
    budget = Budget(max_tokens=config.budget_tokens, max_cost=config.budget_cost, prices=prices, tokens_per_reply=config.max_new_tokens)
    outcomes: dict[str, Outcome] = {}
    with Ledger(directory / CALLS, judge.model.name) as ledger:
        known = {call.key: outcome for call in calls if (outcome := ledger.find(call))}
        for call, outcome in judge.model.answer([call for call in calls if call.key not in known], budget):
            ledger.append(call, outcome)
            outcomes[call.key] = outcome
            if judge.on_progress:
                judge.on_progress(len(known) + len(outcomes), len(calls))
    return known | outcomes


def _read(outcome: Outcome, completion: str) -> str | None:
    """What contradicts what; None where nothing does.

    Raises:
        UnreadableReplyError: no verdict, or one without its quotation.
    """
    if outcome.text is None:
        raise UnreadableReplyError(outcome.error or "no reply")
    value = first_json(outcome.text)
    if not isinstance(value, dict) or not isinstance(value.get("contradicts"), bool):
        raise UnreadableReplyError("no verdict")
    if not value["contradicts"]:
        return None
    right, other = (str(value.get(name) or "") for name in ("right_answer_says", "other_answer_says"))
    if not normalise(other) or normalise(other) not in normalise(completion):
        raise UnreadableReplyError("what it quotes does not stand in the answer")
    return f"says {other!r} where the reference says {right!r}"
