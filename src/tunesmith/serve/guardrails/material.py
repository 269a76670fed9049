"""What rules are tried on: held-out examples of a prepared set, files of any format, the project's off-topic questions, stored answers.

>>> found = Material(prompts=[*held_out(data, "test").prompts, *general(data.train)], answers=stored_answers(run))
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from tunesmith.config import PrepareConfig
from tunesmith.data.preparing.gather import Ledger, gather
from tunesmith.data.preparing.inputs import open_inputs
from tunesmith.data.storing.prepared import PreparedData
from tunesmith.errors import DataError
from tunesmith.evaluate.probing.questions import general_questions
from tunesmith.evaluate.probing.recognise import Recogniser
from tunesmith.evaluate.stored import read_answers
from tunesmith.runs import RunDirectory
from tunesmith.serve.guardrails.trial import Material, TrialAnswer, TrialPrompt
from tunesmith.types import Example, Message
from tunesmith.workers import Workers

Split = Literal["test", "validation", "train"]


def of_examples(examples: Sequence[Example], recogniser: Recogniser, *, place: str) -> Material:
    """Prompts, those whose references decline as off the subject, and the references.

    Raises:
        DataError: none of them is a conversation.
    """
    answered = [one for one in examples if one.messages]
    if not answered:
        raise DataError(place, "no prompts with answers", expected="questions and answers", remedy="name a data set of those")
    prompts = [
        TrialPrompt(source=one.source, messages=one.prompt_messages, is_on_topic=recogniser.reason(one.reference) is None)
        for one in answered
    ]
    answers = [TrialAnswer(source=one.source, messages=one.prompt_messages, text=one.reference) for one in answered]
    return Material(prompts=prompts, answers=answers)


def held_out(data: PreparedData, split: Split) -> Material:
    """A split of a prepared set.

    Raises:
        DataError: it is empty, or holds no conversation.
    """
    examples = {"train": data.train, "validation": data.validation, "test": data.test}[split]
    return of_examples(list(examples), Recogniser.learn(data.train, None), place=f"{data.directory}, {split}")


def of_files(paths: Sequence[Path], train: Sequence[Example] | None) -> Material:
    """Files of questions and answers, in any format that `prepare` reads; which answers decline is told by the training data, if given.

    Raises:
        DataError: a file cannot be read, or holds no conversation.
    """
    config = PrepareConfig(checks="none")
    inputs = open_inputs([str(path) for path in paths], None, config, None)
    with TemporaryDirectory(prefix="tunesmith-guard-") as folder, Workers(1) as workers, Ledger(Path(folder)) as ledger:
        gathered = gather(inputs.sources, config, Path(folder) / "examples.spool", workers, ledger)
        examples = list(gathered.examples)
        gathered.examples.close()
    return of_examples(examples, Recogniser.learn(examples if train is None else train, None), place=", ".join(map(str, paths)))


def off_topic_prompts(conversations: Sequence[tuple[str, tuple[Message, ...]]]) -> list[TrialPrompt]:
    """Sources and conversations that are to be redirected."""
    return [TrialPrompt(source=source, messages=messages, is_on_topic=False) for source, messages in conversations]


def general(train: Sequence[Example]) -> list[TrialPrompt]:
    """Everyday questions of the project's own, but for those near a training prompt."""
    return off_topic_prompts([(one.source, one.messages) for one in general_questions(train).questions])


def stored_answers(run: RunDirectory) -> list[TrialAnswer]:
    """What the tuned model said in the run's last evaluation.

    Raises:
        RunError: nothing is stored, or the run or its data have changed since.
    """
    return [TrialAnswer(source=one.source, messages=one.messages, text=one.tuned.completion) for one in read_answers(run).records]
