"""What a model is asked about its scope: prompts off its subject, and prompts on it.

>>> ask = from_held_out(data, "test", recogniser)
>>> len(ask.off_topic), len(ask.on_topic)
(4, 136)
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Literal, NamedTuple

from tunesmith.config import EvaluateConfig, ScopeConfig
from tunesmith.data.comparing.stop_words import STOP_WORDS
from tunesmith.data.storing.prepared import PreparedData
from tunesmith.evaluate.probing.recognise import Recogniser
from tunesmith.evaluate.sampling import choose_examples
from tunesmith.evaluate.words import words
from tunesmith.types import Example, Message

Origin = Literal["held-out", "file", "general"]

NEAR = 0.6
"""A general question whose telling words stand to this share in one training prompt is near it: it may have been trained on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """A conversation that waits for an answer."""

    origin: Origin
    source: str
    messages: tuple[Message, ...]
    fields: Mapping[str, str] = field(default_factory=dict)

    @property
    def prompt(self) -> str:
        """The last message."""
        return self.messages[-1].content


class Questions(NamedTuple):
    """What is asked, by what the right answer is."""

    off_topic: list[Question]
    """To be redirected."""
    on_topic: list[Question]
    """To be answered."""


class General(NamedTuple):
    """The project's own list, for one data set."""

    questions: list[Question]
    num_near: int
    """Left out, as they are near a training prompt."""


def from_held_out(data: PreparedData, config: ScopeConfig, recogniser: Recogniser) -> Questions:
    """The examples of a held-out split, by whether their references decline; none where the split is empty."""
    split = {"train": data.train, "validation": data.validation, "test": data.test}[config.split]
    asked = Questions([], [])
    if not len(split):
        return asked
    for example in choose_examples(data, EvaluateConfig(split=config.split), lambda _: None):
        side = asked.off_topic if recogniser.reason(example.reference) else asked.on_topic
        side.append(Question(origin="held-out", source=example.source, messages=example.prompt_messages, fields=example.fields))
    return asked


def general_questions(train: Sequence[Example]) -> General:
    """Everyday questions that few assistants are made for, but for those near a training prompt, redirected there or answered."""
    trained = [_telling(example.prompt) for example in train]
    file = resources.files("tunesmith.evaluate.probing") / "general.jsonl"
    questions = []
    lines = file.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, start=1):
        prompt = json.loads(line)["prompt"]
        if not _is_near(_telling(prompt), trained):
            message = Message(role="user", content=prompt)
            questions.append(Question(origin="general", source=f"general.jsonl:{number}", messages=(message,)))
    return General(questions, len(lines) - len(questions))


def _telling(text: str) -> frozenset[str]:
    found = words(text)
    return frozenset(found) - STOP_WORDS or frozenset(found)


def _is_near(asked: frozenset[str], trained: Sequence[frozenset[str]]) -> bool:
    return any(len(asked & known) >= NEAR * len(asked) for known in trained)


def sampled(questions: list[Question], config: ScopeConfig) -> list[Question]:
    """At most `config.limit` of them, in their order."""
    if config.limit is None or config.limit >= len(questions):
        return questions
    chosen = set(random.Random(config.seed).sample(range(len(questions)), config.limit))  # noqa: S311 - a sample, not a secret
    return [question for index, question in enumerate(questions) if index in chosen]
