"""Which objective the data ask for, and which of the examples it trains on.

| data | `auto` | also |
|---|---|---|
| preference pairs | dpo | orpo; sft: the chosen answers |
| judged answers | kto | sft: the desirable answers |
| conversations, raw text | sft | |
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import overload

import numpy as np
from numpy.typing import NDArray

from tunesmith.config import DEFAULT_BETAS, TrainConfig
from tunesmith.data.storing.prepared import PreparedData
from tunesmith.errors import ConfigError, DataError
from tunesmith.types import Example, ExampleKind

NAMES: Mapping[ExampleKind, str] = {
    "text": "raw texts",
    "pair": "preference pairs",
    "judged": "judged answers",
    "conversation": "conversations",
}
BY_DATA: Mapping[ExampleKind, str] = {"text": "sft", "conversation": "sft", "pair": "dpo", "judged": "kto"}
NEEDED: Mapping[str, ExampleKind] = {"dpo": "pair", "orpo": "pair", "kto": "judged"}
COLUMNS: Mapping[ExampleKind, str] = {
    "pair": "a better and a worse answer in each row (columns chosen and rejected)",
    "judged": "an answer and whether it is desirable in each row (column label)",
}
SETTINGS: Mapping[str, frozenset[str]] = {
    "sft": frozenset(),
    "dpo": frozenset({"dpo_loss", "beta"}),
    "kto": frozenset({"beta", "desirable_weight", "undesirable_weight"}),
    "orpo": frozenset({"orpo_lambda"}),
}
"""Which objective looks at which settings; any other that was set is a mistake."""

BALANCED = (0.99, 4 / 3)
"""Desirable to undesirable weight, times their numbers, as Ethayarajh et al. 2024 advise (section 4.2); 1 with some room."""


def kind_of(data: PreparedData) -> ExampleKind:
    """The one kind of all examples to train on and validate with.

    Raises:
        DataError: there are several.
    """
    counts = Counter(example.kind for example in (*data.train, *data.validation))
    if len(counts) > 1:
        kind, count = min(counts.items(), key=lambda item: (item[1], list(NAMES).index(item[0])))
        raise DataError(
            "the training data",
            f"{count:,} {NAMES[kind]} among {counts.total():,} examples",
            expected="examples of one kind",
            remedy="prepare them as data sets of their own",
        )
    return next(iter(counts), "conversation")


def resolve_objective(config: TrainConfig, kind: ExampleKind, say: Callable[[str], None]) -> TrainConfig:
    """Settle the objective and its beta.

    Raises:
        ConfigError: the objective does not suit the data, or a setting belongs to another objective.
    """
    objective = BY_DATA[kind] if config.objective == "auto" else config.objective
    needed = NEEDED.get(objective)
    if needed and needed != kind:
        raise ConfigError(
            f"objective {objective}",
            f"the data are {NAMES[kind]}",
            expected=COLUMNS[needed],
            remedy=f"use --objective {BY_DATA[kind]}, or prepare such data",
        )
    _refuse_settings_of_others(config, objective)
    if objective == "kto" and config.tokens_per_step is None and config.examples_per_step == 1:
        raise ConfigError(
            "examples_per_step",
            "1 with objective kto",
            expected="at least 2: each step asks how likely answers to its other prompts are",
            remedy="raise --examples-per-step",
        )
    if config.objective == "auto" and objective != "sft":
        say(f"objective {objective}, because the data are {NAMES[kind]}")
    return config.model_copy(update={"objective": objective, "beta": config.beta or DEFAULT_BETAS.get(objective)})


def _refuse_settings_of_others(config: TrainConfig, objective: str) -> None:
    for name in sorted(frozenset().union(*SETTINGS.values()) - SETTINGS[objective]):
        if getattr(config, name) != TrainConfig.model_fields[name].default:
            owners = " or ".join(owner for owner, names in SETTINGS.items() if name in names)
            raise ConfigError(
                name,
                f"set to {getattr(config, name)} while the objective is {objective}",
                expected=f"it only with objective {owners}",
                remedy=f"leave out --{name.replace('_', '-')}, or change --objective",
            )


def choose_material(data: PreparedData, config: TrainConfig, say: Callable[[str], None]) -> PreparedData:
    """The data as the objective takes them; what is left out is said.

    Raises:
        DataError: supervised training of answers none of which is desirable.
    """
    if config.objective == "kto":
        _say_balance(data.train, config, say)
    if config.objective != "sft" or not data.train or data.train[0].kind not in NEEDED.values():
        return data
    train = RightAnswers(data.train)
    if not train:
        raise DataError(
            str(data.directory),
            f"all {len(data.train):,} answers to train on are undesirable",
            expected="some desirable answers to imitate",
            remedy="use --objective kto",
        )
    if data.train[0].kind == "pair":
        say("sft on preference pairs: the chosen answers are trained, the rejected ones left out (--objective dpo or orpo uses both)")
    else:
        left_out = len(data.train) - len(train)
        say(f"sft on judged answers: the {len(train):,} desirable ones are trained, {left_out:,} left out (--objective kto uses both)")
    return dataclasses.replace(data, train=train, validation=RightAnswers(data.validation))


class RightAnswers(Sequence[Example]):
    """Those of the examples whose answers are to be imitated, without their preferences; made as they are asked for."""

    def __init__(self, examples: Sequence[Example], numbers: NDArray[np.int64] | None = None) -> None:
        """`numbers`: which of them; None: all but undesirable ones."""
        if numbers is None:
            numbers = np.flatnonzero(np.fromiter((one.label is not False for one in examples), np.bool_, len(examples)))
        self._examples, self._numbers = examples, numbers

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, index: int) -> Example: ...

    @overload
    def __getitem__(self, index: slice) -> RightAnswers: ...

    def __getitem__(self, index: int | slice) -> Example | RightAnswers:
        if isinstance(index, slice):
            return RightAnswers(self._examples, self._numbers[index])
        return dataclasses.replace(self._examples[int(self._numbers[index])], rejected=None, label=None)


def _say_balance(examples: Sequence[Example], config: TrainConfig, say: Callable[[str], None]) -> None:
    desirable = sum(one.label is True for one in examples)
    undesirable = len(examples) - desirable
    sentence = f"kto: {desirable:,} desirable and {undesirable:,} undesirable answers"
    if not desirable or not undesirable:
        say(f"{sentence}; with one kind alone there is little to learn from")
        return
    ratio = desirable * config.desirable_weight / (undesirable * config.undesirable_weight)
    if BALANCED[0] <= ratio <= BALANCED[1]:
        say(sentence)
        return
    option, weight = (
        ("--desirable-weight", config.desirable_weight / ratio)
        if ratio < 1
        else ("--undesirable-weight", config.undesirable_weight * ratio)
    )
    say(f"{sentence}; weights times numbers are as {ratio:.2f} to 1, {option} {weight:.2g} would make them even")
