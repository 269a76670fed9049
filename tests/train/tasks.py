"""Tasks for single steps: random examples, plain gradient descent with rate 1, so that the update is the gradient."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tests.samples import random_examples
from tunesmith.config import TrainConfig
from tunesmith.engine.loading import load_model
from tunesmith.engine.masters import TrainedWeights
from tunesmith.runs import RunDirectory
from tunesmith.train.loop import Task, train_step
from tunesmith.train.objectives import Split, make_objective
from tunesmith.train.observer import Silent
from tunesmith.train.plan import plan_steps
from tunesmith.train.start import Trainee
from tunesmith.types import Example, Message, RenderedExample

LENGTHS = [40, 3, 17, 60, 9, 25, 8, 31]


def make_task(
    model_dir: Path, dtype: torch.dtype = torch.float32, train: Split | None = None, *, in_halves: bool = False, **settings: Any
) -> Task:
    """A task on random examples."""
    plain: dict[str, Any] = {"model": "m", "data": Path("d"), "objective": "sft", "max_grad_norm": 0.0, "examples_per_step": 8, "epochs": 1}
    config = TrainConfig(**{**plain, "max_length": 256, **settings})
    network = load_model(model_dir, dtype=torch.float32, device=torch.device("cpu")).network
    network.requires_grad_(True)
    weights = TrainedWeights(network, dtype, in_halves=in_halves)
    train = train or Split(rendered=random_examples(LENGTHS, network.config.vocab_size))
    return Task(
        config=config,
        run=RunDirectory(Path("nowhere")),
        trainee=Trainee(network=network, peft_network=None, weights=weights, num_parameters=0),
        optimizer=torch.optim.SGD((weights.masters or weights.parameters).values(), lr=1.0),
        objective=make_objective(config),
        train=train,
        validation=Split(rendered=()),
        steps=plan_steps(train.lengths, config),
        observer=Silent(),
    )


def update_of(task: Task, members: Sequence[int]) -> dict[str, Tensor]:
    """What one step with rate 1 takes from every weight."""
    before = {name: tensor.clone() for name, tensor in task.trainee.weights.state().items()}
    train_step(task, members, 1.0, 1)
    return {name: before[name] - tensor for name, tensor in task.trainee.weights.state().items()}


def random_pairs(count: int, vocabulary: int, seed: int = 0) -> Split:
    """Pairs with prompts of their own. Some tokens of the prompts are supervised, as earlier answers of a conversation are."""
    dice = random.Random(seed)
    sides: tuple[list[RenderedExample], list[RenderedExample]] = ([], [])
    for i in range(count):
        prompt = [dice.randrange(4, vocabulary) for _ in range(dice.randrange(5, 40))]
        earlier = [dice.random() < 0.4 for _ in prompt[:-1]] + [False]
        example = _example(f"pair:{i + 1}", rejected="worse")
        for side in sides:
            answer = [dice.randrange(4, vocabulary) for _ in range(dice.randrange(1, 15))]
            supervised = (*earlier, *(True for _ in answer))
            side.append(RenderedExample(example=example, token_ids=(*prompt, *answer), supervised=supervised))
    return Split(rendered=sides[0], rejected=sides[1])


def random_judged(count: int, vocabulary: int, seed: int = 0) -> Split:
    """Every third answer is undesirable."""
    examples = random_pairs(count, vocabulary, seed).rendered
    return Split(
        rendered=[
            RenderedExample(example=_example(f"judged:{i + 1}", label=i % 3 != 0), token_ids=one.token_ids, supervised=one.supervised)
            for i, one in enumerate(examples)
        ]
    )


def _example(source: str, **preference: Any) -> Example:
    turns = (Message(role="user", content="?"), Message(role="assistant", content="better"))
    return Example(id=source, source=source, group=source, messages=turns, **preference)
