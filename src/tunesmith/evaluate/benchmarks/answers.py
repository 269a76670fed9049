"""What a model answered, kept as it comes, so that a benchmark that was killed goes on where it was.

    benchmarks/faq-1f0c52d9-bfloat16/hellaswag/
      answers.jsonl   append-only: {"key": "…", "answers": [[-41.25, false], …]}, one line for each few hundred requests
      records.jsonl   one line a document, written when the task is done
      result.json     the task's scores and how it was asked, written last

A line of answers is found again by a hash of its requests, so it is used only for exactly the same questions to the same weights in
the same type. A line that was cut short is no line: its requests are computed again, in the same packs, to the same numbers.
The requests, filters and scores are the harness' own (`lm_eval.evaluator.evaluate`).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tunesmith.config import BenchmarkConfig
from tunesmith.data.reading.benchmarks import question_of
from tunesmith.distributed.group import current_group
from tunesmith.errors import DataError
from tunesmith.evaluate.benchmarks.harness import LM, TunesmithLM, evaluate
from tunesmith.evaluate.benchmarks.records import DocumentRecord, TaskResult, write_task
from tunesmith.evaluate.benchmarks.tasks import LoadedTask, quiet
from tunesmith.files import cut_torn_line, read_json_lines

CHUNK = {"loglikelihood": 512, "loglikelihood_rolling": 64, "generate_until": 64}
"""Requests answered between two lines: some seconds of a small model on a CPU."""


class KeptAnswers(LM):  # type: ignore[misc]
    """A model of the harness that answers from a file what it was asked before, and asks the real one in chunks."""

    def __init__(self, model: TunesmithLM, file: Path, on_progress: Callable[[int, int], None]) -> None:
        """`on_progress` is told how many of the task's requests are answered, and how many there are."""
        super().__init__()
        self._model, self._file, self._on_progress = model, file, on_progress
        self.num_computed = 0
        """Requests that were not in the file."""
        file.parent.mkdir(parents=True, exist_ok=True)
        self._group = current_group()
        self._kept = self._group.from_first(lambda: _read_kept(file))

    def loglikelihood(self, requests: list[Any], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        del disable_tqdm
        return [(float(nats), bool(greedy)) for nats, greedy in self._answer("loglikelihood", requests)]

    def loglikelihood_rolling(self, requests: list[Any], disable_tqdm: bool = False) -> list[float]:
        del disable_tqdm
        return self._answer("loglikelihood_rolling", requests)

    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
        del disable_tqdm
        return self._answer("generate_until", requests)

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        return self._model.apply_chat_template(chat_history, add_generation_prompt)

    @property
    def tokenizer_name(self) -> str:
        return self._model.tokenizer_name

    def _answer(self, kind: str, requests: Sequence[Any]) -> list[Any]:
        answers: list[Any] = []
        for start in range(0, len(requests), CHUNK[kind]):
            chunk = list(requests[start : start + CHUNK[kind]])
            key = _key(kind, chunk)
            if key not in self._kept:
                self._kept[key] = getattr(self._model, kind)(chunk, disable_tqdm=True)
                self.num_computed += len(chunk)
                self._group.from_first(partial(self._keep, key))
            answers += self._kept[key]
            self._on_progress(len(answers), len(requests))
        return answers

    def _keep(self, key: str) -> None:
        """Append a line, and have it on the disk before the next is computed."""
        with self._file.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"key": key, "answers": self._kept[key]}, ensure_ascii=False) + "\n")
            file.flush()
            os.fsync(file.fileno())


def _read_kept(file: Path) -> dict[str, list[Any]]:
    """Lines of an earlier process; a torn last one is cut off, so that the next begins a line of its own."""
    if not file.is_file():
        return {}
    cut_torn_line(file)
    return {line["key"]: line["answers"] for line in read_json_lines(file)}


def _key(kind: str, requests: Sequence[Any]) -> str:
    asked = json.dumps([kind, [request.args for request in requests]], default=str, ensure_ascii=False)
    return hashlib.sha256(asked.encode()).hexdigest()[:32]


def ask(model: TunesmithLM, loaded: LoadedTask, config: BenchmarkConfig, directory: Path, on_progress: Callable[[int], None]) -> TaskResult:
    """Have a model do one task, and write `directory/NAME/`.

    Args:
        on_progress: is told how many documents are done.
    """
    folder = directory / loaded.name
    count = len(loaded.chosen)
    answering = KeptAnswers(model, folder / "answers.jsonl", lambda done, total: on_progress(count * done // total))
    loaded.task.set_fewshot_seed(config.seed)  # every model gets the same worked examples
    with quiet():
        found = evaluate(
            lm=answering,
            task_dict={"tasks": {loaded.name: loaded.task}, "groups": {}},
            samples=None if count == loaded.num_documents else {loaded.name: list(loaded.chosen)},
            bootstrap_iters=0,
            apply_chat_template=config.chat_template,
            fewshot_as_multiturn=config.chat_template,
        )
    result = TaskResult(
        name=loaded.name,
        num_fewshot=loaded.num_fewshot,
        scores={key: float(value) for key, value in found["results"][loaded.name].items() if _is_score(key, value)},
        higher_is_better={key: bool(value) for key, value in loaded.task.higher_is_better().items()},
        version=str(loaded.task.VERSION),
        records=_records(loaded, found["samples"][loaded.name]),
        num_computed=answering.num_computed,
    )
    current_group().from_first(lambda: write_task(folder, result, config))
    return result


def _is_score(key: str, value: Any) -> bool:
    return "," in key and "_stderr," not in key and isinstance(value, int | float)


def _records(loaded: LoadedTask, samples: Sequence[dict[str, Any]]) -> tuple[DocumentRecord, ...]:
    """One a document; where a task has several filters, their metrics are `acc,strict` and so on."""
    by_document: dict[int, dict[str, Any]] = {}
    for sample in samples:
        kept = by_document.setdefault(sample["doc_id"], {**sample, "values": {}})
        for metric in sample["metrics"]:
            value = sample[metric]
            if isinstance(value, int | float):
                kept["values"][f"{metric},{sample['filter']}"] = float(value)
    if len(by_document) != len(loaded.chosen):
        found = f"{len(by_document):,} documents were answered"
        raise DataError(loaded.name, found, expected=f"{len(loaded.chosen):,}", remedy="run it with lm_eval itself")
    return tuple(
        DocumentRecord(
            task=loaded.name,
            document=position,
            hash=sample["doc_hash"],
            prompt_hash=sample["prompt_hash"],
            question=question_of(sample["doc"]),
            right=_right(loaded, sample),
            values=sample["values"],
            answers=[[*answer] if isinstance(answer, tuple) else answer for answer in sample["filtered_resps"]],
        )
        for position, sample in by_document.items()
    )


def _right(loaded: LoadedTask, sample: dict[str, Any]) -> str:
    """The right answer as text, where the task has one."""
    target = sample["target"]
    if loaded.task.config.doc_to_choice is not None and isinstance(target, int):
        choices = loaded.task.doc_to_choice(sample["doc"])
        target = choices[target] if 0 <= target < len(choices) else ""
    return target.strip() if isinstance(target, str) else ""
