"""Answer the held-out examples in every way there is, and say which to take.

>>> report = run_baseline(Subject.of_run(open_run(Path("runs/faq"))), BaselineConfig(), out=Path("runs/faq/baseline"))
>>> print(report.decision.paragraph)
"""

from __future__ import annotations

import gc
import json
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from urllib.parse import urlsplit

from tunesmith.chat.budget import Budget, Prices
from tunesmith.chat.calls import Call, Outcome
from tunesmith.chat.ledger import Ledger
from tunesmith.chat.models import ChatModel, choose_chat_model
from tunesmith.config import BaselineConfig
from tunesmith.data.storing.prepared import PreparedData, load_data_of, load_prepared
from tunesmith.errors import ConfigError, DataError
from tunesmith.evaluate.answering import OnProgress, complete_examples, scored_answer
from tunesmith.evaluate.baselines.measured import Answered, Taken, summarise
from tunesmith.evaluate.baselines.report import BaselineReport, build_baseline_report
from tunesmith.evaluate.baselines.retrieval import Shelf, passages_of, read_documents
from tunesmith.evaluate.baselines.ways import Answerer, Way, fit_into, shots_for, with_instructions, with_passages, with_shots
from tunesmith.evaluate.sampling import choose_examples
from tunesmith.evaluate.scorers import Scorer, resolve_scorers
from tunesmith.files import write_json, write_json_lines, write_text
from tunesmith.runs import RunDirectory
from tunesmith.tuned import OpenedModel, open_base, open_model, open_tuned
from tunesmith.types import Completion, Example

Say = Callable[[str], None]
REQUESTS_TIMED = 8
"""Single requests by which latency is measured."""
THIS_MACHINE = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is asked: data, and the models there are."""

    data: PreparedData
    model: str
    """The base model's name."""
    run: RunDirectory | None
    """With the tuned model."""

    @classmethod
    def of_run(cls, run: RunDirectory) -> Subject:
        """A run's data, its base and its tuned model.

        Raises:
            RunError: its data have changed, or it has not finished.
        """
        run.manifest()
        return cls(data=load_data_of(run), model=run.record()["model"]["name"], run=run)

    @classmethod
    def of_data(cls, directory: Path, model: str) -> Subject:
        """A prepared data set and a model, before any training."""
        return cls(data=load_prepared(directory), model=model, run=None)


def run_baseline(
    subject: Subject,
    config: BaselineConfig,
    *,
    out: Path,
    dtype: str = "auto",
    device: str = "auto",
    say: Say = lambda text: None,
    on_progress: OnProgress = lambda stage, done, total: None,
) -> BaselineReport:
    """Try every way, write `answers.jsonl`, `baseline.json` and `baseline.html` into `out` (earlier ones are replaced).

    Raises:
        DataError: there is nothing held out, or it has no prompts.
        ConfigError, AssetError: the endpoint cannot be used as the settings say.
    """
    held_out = _conversations(choose_examples(subject.data, config.evaluation, say), config.evaluation.split)
    chosen = config.evaluation
    scorers = resolve_scorers(chosen.scorers, held_out, train=subject.data.train, also=chosen.weights, embeddings=chosen.embeddings)
    chat = choose_chat_model(config.chat, say) if config.chat.endpoint else None
    out.mkdir(parents=True, exist_ok=True)
    asking = _Asking(config, scorers, dtype, device, on_progress)
    ways = _ways(subject, held_out, config, say)
    answered = [
        one for answerer in ("base", "tuned") for one in asking.local(subject, [w for w in ways if w.answerer == answerer], answerer)
    ]
    if chat is not None:
        answered.append(asking.endpoint(chat, next(way for way in ways if way.answerer == "endpoint"), out, say))
    results = [summarise(one, len(held_out), config, leaves=_leaves(one.way, config)) for one in answered]
    report = build_baseline_report(subject.model, subject.run.name if subject.run else None, held_out, answered, results, scorers, config)
    _write(out, report, held_out, answered)
    return report


def _conversations(examples: Sequence[Example], split: str) -> list[Example]:
    asked = [example for example in examples if example.text is None]
    if not asked:
        raise DataError(
            "baseline",
            f"the {split} split is raw text",
            expected="prompts with answers",
            remedy="see what a model makes of raw text with `tunesmith evaluate`",
        )
    return asked


def _ways(subject: Subject, held_out: Sequence[Example], config: BaselineConfig, say: Say) -> list[Way]:
    """Those that the settings and the data allow."""
    train = [example for example in subject.data.train if example.text is None]
    places = [place for place, example in enumerate(train) if len(example.messages) == 2]
    single = [train[place] for place in places]
    shelf = Shelf.of([*passages_of(train), *read_documents(config.documents)], config.retriever)
    found = shelf.nearest([example.prompt for example in held_out], config.passages)
    ways = [_way("zero-shot", "base", held_out, "the question alone")]
    if config.instructions:
        ways.append(_way("own prompt", "base", with_instructions(held_out, config.instructions), "your instructions before it"))
    if single and config.shots:
        nearest = shelf.part(places) if config.pick_shots == "nearest" else None
        shots = shots_for(held_out, single, config.shots, nearest=nearest, seed=config.evaluation.seed)
        shown = f"{config.shots} training examples before it, " + ("the nearest" if nearest else "the same for all")
        ways.append(_way("few-shot", "base", with_shots(_instructed(held_out, config), shots), shown))
    where = f"{config.passages} of {len(shelf.passages):,} passages before it, by {config.retriever}"
    ways.append(_way("retrieval", "base", with_passages(_instructed(held_out, config), found), where))
    if subject.run is not None:
        ways.append(_way("tuned", "tuned", held_out, f"the tuned model {subject.run.name}, the question alone"))
        ways.append(_way("tuned + retrieval", "tuned", with_passages(held_out, found), f"the tuned model, {where}"))
    if config.chat.endpoint:
        name = config.chat.endpoint_model or config.chat.endpoint
        ways.append(_way("endpoint", "endpoint", _instructed(held_out, config), f"{name} at {config.chat.endpoint}"))
    say(f"{len(held_out):,} held-out examples, {len(ways)} ways: {', '.join(way.name for way in ways)}")
    return ways


def _way(name: str, answerer: Answerer, examples: Sequence[Example], words: str) -> Way:
    return Way(name=name, answerer=answerer, examples=tuple(examples), words=words)


def _instructed(examples: Sequence[Example], config: BaselineConfig) -> list[Example]:
    return with_instructions(examples, config.instructions) if config.instructions else list(examples)


@dataclass(frozen=True)
class _Asking:
    """How everything is asked."""

    config: BaselineConfig
    scorers: Sequence[Scorer]
    dtype: str
    device: str
    on_progress: OnProgress

    def local(self, subject: Subject, ways: Sequence[Way], answerer: Answerer) -> list[Answered]:
        """The ways of one model on this machine, which is loaded once."""
        if not ways:
            return []
        opened = self._open(subject, answerer)
        answered = [self._ask(opened, way) for way in ways]
        del opened
        gc.collect()
        return answered

    def _open(self, subject: Subject, answerer: Answerer) -> OpenedModel:
        if subject.run is None:
            return open_model(subject.model, template=subject.data.template, dtype=self.dtype, device=self.device)
        opener = open_tuned if answerer == "tuned" else open_base
        return opener(subject.run, dtype=self.dtype, device=self.device)

    def _ask(self, opened: OpenedModel, way: Way) -> Answered:
        generation = self.config.evaluation.generation
        room = opened.loaded.context_length - generation.max_new_tokens
        examples = fit_into(way.examples, lambda one: len(opened.renderer.prompt_ids(one.prompt_messages, one.fields)) <= room)
        latencies = []
        for example in self._timed(examples):
            started = time.perf_counter()
            opened.complete([example.prompt_messages], generation, fields=[example.fields])
            latencies.append(time.perf_counter() - started)
        completions, effort = complete_examples(
            opened, examples, self.config.evaluation, lambda done: self.on_progress(way.name, done, len(examples))
        )
        answers = {example.id: scored_answer(example, one, self.scorers) for example, one in zip(examples, completions, strict=True)}
        taken = Taken(
            latencies=tuple(latencies),
            seconds_a_request=effort.seconds / len(examples),
            prompt_tokens=effort.num_prompt_tokens / len(examples),
            new_tokens=effort.num_new_tokens / len(examples),
            peak_memory_bytes=effort.peak_memory_bytes,
        )
        return Answered(way=way, answers=answers, taken=taken)

    def _timed(self, examples: Sequence[Example]) -> list[Example]:
        draw = random.Random(self.config.evaluation.seed)  # noqa: S311 - a draw, not a secret
        return draw.sample(list(examples), min(REQUESTS_TIMED, len(examples)))

    def endpoint(self, model: ChatModel, way: Way, out: Path, say: Say) -> Answered:
        """Every question over HTTP, a few one by one for their latency; what an earlier run was answered is not asked again."""
        calls = {example.id: Call(key=f"baseline {example.id}", messages=example.prompt_messages) for example in way.examples}
        with Ledger(out / "endpoint.jsonl", model.name) as ledger:
            budget = self._budget(ledger)
            outcomes = {key: found for key, call in calls.items() if (found := ledger.find(call))}
            left = {call.key: key for key, call in calls.items() if key not in outcomes}
            timed = [calls[example.id] for example in self._timed(way.examples) if example.id not in outcomes]
            latencies = _Latencies(out / "endpoint-latencies.json", model.name)
            for call in timed:
                started = time.perf_counter()
                for answered in model.answer([call], budget):
                    latencies.add(time.perf_counter() - started, answered.outcome)
                    ledger.append(*answered)
                    outcomes[left.pop(answered.call.key)] = answered.outcome
            for done, (call, outcome) in enumerate(model.answer([calls[key] for key in left.values()], budget), start=1):
                ledger.append(call, outcome)
                outcomes[left[call.key]] = outcome
                self.on_progress(way.name, done, len(left))
        failed = [outcome.error for outcome in outcomes.values() if outcome.text is None]
        if failed:
            say(f"{way.name}: {len(failed)} answers failed, the first because of {failed[0]}")
        return self._answered(way, outcomes, latencies.known())

    def _budget(self, ledger: Ledger) -> Budget:
        """What earlier runs of the same spent is spent."""
        chat = self.config.chat
        prices = Prices(prompt=chat.price_prompt, completion=chat.price_completion)
        budget = Budget(max_tokens=chat.budget_tokens, max_cost=chat.budget_cost, prices=prices, tokens_per_reply=chat.max_new_tokens)
        budget.count(ledger.spent_before)
        return budget

    def _answered(self, way: Way, outcomes: dict[str, Outcome], latencies: Sequence[float]) -> Answered:
        answers = {}
        for example in way.examples:
            outcome = outcomes.get(example.id)
            if outcome is not None and outcome.text is not None:
                completion = Completion(text=outcome.text, token_ids=(), finish_reason="end_of_turn")
                answers[example.id] = scored_answer(example, completion, self.scorers)
        usages = [outcome.usage for outcome in outcomes.values() if outcome.text is not None]
        taken = Taken(
            latencies=tuple(latencies),
            seconds_a_request=None,
            prompt_tokens=fmean([usage.prompt_tokens for usage in usages] or [0]),
            new_tokens=fmean([usage.completion_tokens for usage in usages] or [0]),
            peak_memory_bytes=None,
        )
        return Answered(way=way, answers=answers, taken=taken)


class _Latencies:
    """Seconds of single requests, kept beside the answers that they belong to."""

    def __init__(self, file: Path, model: str) -> None:
        self._file, self._model = file, model
        record = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        self._seconds: list[float] = record.get(model, [])
        self._others = {name: seconds for name, seconds in record.items() if name != model}

    def add(self, seconds: float, outcome: Outcome) -> None:
        """One more; a failure says nothing of how long an answer takes."""
        if outcome.text is not None:
            self._seconds.append(seconds)
            write_json(self._file, {**self._others, self._model: self._seconds})

    def known(self) -> list[float]:
        """At least one.

        Raises:
            ConfigError: nothing was answered.
        """
        if not self._seconds:
            expected = "answers to single requests within the budget"
            raise ConfigError(
                "baseline", f"{self._model} answered nothing", expected=expected, remedy="see to the endpoint, or raise the budget"
            )
        return self._seconds


def _leaves(way: Way, config: BaselineConfig) -> bool:
    endpoint = config.chat.endpoint or ""
    return way.answerer == "endpoint" and "://" in endpoint and urlsplit(endpoint).hostname not in THIS_MACHINE


def _write(out: Path, report: BaselineReport, held_out: Sequence[Example], answered: Sequence[Answered]) -> None:
    from tunesmith.evaluate.baselines.page import render_page

    write_json_lines(
        out / "answers.jsonl",
        (
            {
                "id": example.id,
                "source": example.source,
                "prompt": example.prompt,
                "reference": example.reference,
                "answers": {
                    one.way.name: {"completion": answer.completion, "scores": dict(answer.scores)}
                    for one in answered
                    if (answer := one.answers.get(example.id))
                },
            }
            for example in held_out
        ),
    )
    write_text(out / "baseline.html", render_page(report))
    write_json(out / "baseline.json", report.to_json())
