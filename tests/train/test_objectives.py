"""Packed, chunked, in micro-batches: the same loss and gradients as one answer at a time over full logits."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, logsigmoid

from tests.engine import reference
from tests.train.tasks import make_task, random_judged, random_pairs, update_of
from tunesmith.errors import TrainingError
from tunesmith.train.loop import Task, train_step
from tunesmith.train.objectives import Split
from tunesmith.train.reference import answer_only, answer_start, load_references, measure_reference, mismatch, save_references
from tunesmith.types import RenderedExample

OBJECTIVES: Mapping[str, dict[str, Any]] = {
    "dpo": {"objective": "dpo", "beta": 0.3},
    "ipo": {"objective": "dpo", "dpo_loss": "ipo", "beta": 0.3},
    "kto": {"objective": "kto", "beta": 0.3, "desirable_weight": 1.5},
    "orpo": {"objective": "orpo", "orpo_lambda": 0.4},
}
MEMBERS = [3, 0, 6, 5, 1]
VOCABULARY = 420


@pytest.fixture(params=["llama", "gemma"])
def model_dir(request: pytest.FixtureRequest) -> Path:
    directory: Path = request.getfixturevalue(f"tiny_{request.param}")
    return directory


@torch.no_grad()
def disturb(network: nn.Module, amount: float = 0.05) -> None:
    """Away from the starting network, so that log-ratios are not all zero."""
    torch.manual_seed(1)
    for parameter in network.parameters():
        parameter.add_(torch.randn_like(parameter), alpha=amount)


def moved_task(model_dir: Path, name: str, **settings: Any) -> Task:
    """A task whose references are of the network as loaded, and whose network has moved since."""
    split = random_judged(7, VOCABULARY) if name == "kto" else random_pairs(7, VOCABULARY)
    task = make_task(model_dir, train=split, **OBJECTIVES[name], **settings)
    if task.objective.needs_reference:
        measured = task.objective.measure(task.trainee.network, split, [MEMBERS], 1024)
        task = dataclasses.replace(task, train=dataclasses.replace(split, reference=measured))
    disturb(task.trainee.network)
    return task


def log_probability(network: nn.Module, tokens: Sequence[int], num_answer: int) -> Tensor:
    """Of the last `num_answer` tokens, from full logits of this one sequence."""
    ids = torch.tensor([tokens])
    logits = network(input_ids=ids, use_cache=False).logits[0, :-1].double()
    return -cross_entropy(logits, ids[0, 1:], reduction="none")[-num_answer:].sum()


def split_tokens(one: RenderedExample) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Prompt and last answer."""
    last = max(i for i, flag in enumerate(one.supervised) if not flag)
    return one.token_ids[: last + 1], one.token_ids[last + 1 :]


def of_answers(network: nn.Module, side: Sequence[RenderedExample]) -> Tensor:
    return torch.stack([log_probability(network, one.token_ids, len(split_tokens(one)[1])) for one in side])


def sizes(side: Sequence[RenderedExample]) -> Tensor:
    return torch.tensor([len(split_tokens(one)[1]) for one in side]).double()


Plain = Callable[[nn.Module, nn.Module, Split], Tensor]


def plain_dpo(network: nn.Module, start: nn.Module, split: Split) -> Tensor:
    ratios = [of_answers(network, side) - of_answers(start, side).detach() for side in (split.rendered, split.rejected)]
    return -logsigmoid(0.3 * (ratios[0] - ratios[1])).mean()


def plain_ipo(network: nn.Module, start: nn.Module, split: Split) -> Tensor:
    ratios = [(of_answers(network, side) - of_answers(start, side).detach()) / sizes(side) for side in (split.rendered, split.rejected)]
    return ((ratios[0] - ratios[1] - 1 / 0.6) ** 2).mean()


def plain_orpo(network: nn.Module, start: nn.Module, split: Split) -> Tensor:
    del start
    means = [of_answers(network, side) / sizes(side) for side in (split.rendered, split.rejected)]
    odds = [mean.exp() / (1 - mean.exp()) for mean in means]
    return (-means[0] - 0.4 * torch.sigmoid((odds[0] / odds[1]).log()).log()).mean()


def divergence(network: nn.Module, start: nn.Module, split: Split) -> float:
    """Each prompt with the previous example's answer, the first with the last one's."""
    total = 0.0
    for i, one in enumerate(split.rendered):
        answer = split_tokens(split.rendered[i - 1])[1]
        tokens = (*split_tokens(one)[0], *answer)
        total += float((log_probability(network, tokens, len(answer)) - log_probability(start, tokens, len(answer))).detach())
    return max(0.0, total / len(split))


def plain_kto(network: nn.Module, start: nn.Module, split: Split) -> Tensor:
    z = divergence(network, start, split)
    ratios = of_answers(network, split.rendered) - of_answers(start, split.rendered).detach()
    values = [
        1.5 * (1 - torch.sigmoid(0.3 * (ratio - z))) if one.example.label else 1 - torch.sigmoid(0.3 * (z - ratio))
        for ratio, one in zip(ratios, split.rendered, strict=True)
    ]
    return torch.stack(values).mean()


PLAIN: Mapping[str, Plain] = {"dpo": plain_dpo, "ipo": plain_ipo, "kto": plain_kto, "orpo": plain_orpo}


def only(split: Split, members: Sequence[int]) -> Split:
    return Split(rendered=[split.rendered[i] for i in members], rejected=[split.rejected[i] for i in members] if split.rejected else ())


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_update_is_the_gradient_of_the_plain_loss(model_dir: Path, name: str) -> None:
    start = make_task(model_dir).trainee.network.eval()
    task = moved_task(model_dir, name, tokens_per_micro_batch=90)
    network = copy.deepcopy(task.trainee.network).eval()
    loss = PLAIN[name](network, start, only(task.train, MEMBERS))
    loss.backward()
    before = {key: tensor.clone() for key, tensor in task.trainee.weights.state().items()}
    result = train_step(task, MEMBERS, 1.0, 1)
    found = {key: before[key] - tensor for key, tensor in task.trainee.weights.state().items()}
    assert result.loss == pytest.approx(float(loss.detach()), rel=1e-5)
    reference.assert_same_gradients(found, reference.gradients(network), tolerance=1e-3)
    assert result.num_terms == len(MEMBERS)


@pytest.mark.parametrize("tokens", [1, 80, 200])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_one_batch_equals_several_micro_batches(tiny_llama: Path, name: str, tokens: int) -> None:
    whole, parts = (moved_task(tiny_llama, name, tokens_per_micro_batch=limit) for limit in (10_000, tokens))
    results = [train_step(copy.copy(task), MEMBERS, 0.0, 1) for task in (whole, parts)]
    assert results[1].loss == pytest.approx(results[0].loss, rel=1e-5)
    assert results[1].figures == pytest.approx(results[0].figures, rel=1e-4, abs=1e-6)
    reference.assert_same_gradients(update_of(parts, MEMBERS), update_of(whole, MEMBERS), tolerance=1e-3)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_validation_is_the_same_loss(tiny_llama: Path, name: str) -> None:
    task = moved_task(tiny_llama, name)
    measured = task.train.reference
    split = only(task.train, MEMBERS)
    if measured is not None:
        crossed = {(MEMBERS.index(a), MEMBERS.index(b)): nats for (a, b), nats in measured.mismatched.items()}
        split = dataclasses.replace(split, reference=dataclasses.replace(measured, nats=measured.nats[MEMBERS], mismatched=crossed))
    task.trainee.network.eval()
    figures = task.objective.validate(task.trainee.network, split, 100)
    result = train_step(task, MEMBERS, 0.0, 1)
    assert figures.pop("loss") == pytest.approx(result.loss, rel=1e-5)
    assert figures == pytest.approx(result.figures, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("name", ["dpo", "ipo", "kto"])
def test_a_network_that_has_not_moved(tiny_llama: Path, name: str) -> None:
    split = random_judged(7, VOCABULARY) if name == "kto" else random_pairs(7, VOCABULARY)
    task = make_task(tiny_llama, train=split, **OBJECTIVES[name])
    measured = task.objective.measure(task.trainee.network, split, [MEMBERS], 64)
    task = dataclasses.replace(task, train=dataclasses.replace(split, reference=measured))
    result = train_step(task, MEMBERS, 0.0, 1)
    expected = {"dpo": 0.693147, "ipo": (1 / 0.6) ** 2, "kto": (2 * 1.5 + 3) / 2 / 5}  # of 3, 0, 6, 5, 1 three are undesirable
    assert result.loss == pytest.approx(expected[name], rel=1e-4)
    assert result.figures["reward_margin"] == pytest.approx(0.0, abs=1e-3)


def test_a_pairs_prompt_is_computed_once(tiny_llama: Path) -> None:
    task = moved_task(tiny_llama, "dpo")
    result = train_step(task, MEMBERS, 0.0, 1)
    once = sum(task.train.lengths[i] for i in MEMBERS)
    twice = sum(len(side[i].token_ids) for side in (task.train.rendered, task.train.rejected) for i in MEMBERS)
    assert result.num_tokens < twice
    assert result.num_tokens <= once + 16 * len(MEMBERS)  # very short prompts are repeated


def test_kto_asks_for_the_divergence_without_dropout_or_gradient(tiny_llama: Path) -> None:
    task = moved_task(tiny_llama, "kto")
    task.trainee.network.train()
    state = torch.get_rng_state()
    batch = task.objective.batch(task.trainee.network, task.train, MEMBERS, 1024)
    assert batch.answers is not None
    assert batch.answers.divergence > 0
    assert torch.equal(torch.get_rng_state(), state)
    assert all(parameter.grad is None for parameter in task.trainee.network.parameters())


def test_kto_of_a_single_example_diverges_from_nothing(tiny_llama: Path) -> None:
    task = moved_task(tiny_llama, "kto")
    result = train_step(task, [3], 0.0, 1)
    assert result.figures["kl"] == 0.0
    assert "chosen_log_ratio" not in result.figures  # example 3 is undesirable


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_loss_that_is_not_finite_stops_before_the_update(tiny_llama: Path, name: str) -> None:
    task = moved_task(tiny_llama, name)
    with torch.no_grad():
        task.trainee.weights.masters["model.norm.weight"][3] = torch.nan
    before = {key: tensor.clone() for key, tensor in task.trainee.weights.state().items()}
    source = "judged" if name == "kto" else "pair"
    with pytest.raises(TrainingError, match=rf"examples {source}:4, {source}:1, .*; the update was not made"):
        train_step(task, MEMBERS, 1.0, 41)
    for key, tensor in task.trainee.weights.state().items():
        assert torch.equal(tensor, before[key]) or key == "model.norm.weight"


class TestReference:
    def test_only_what_is_used_is_known(self, tiny_llama: Path) -> None:
        split = random_pairs(7, VOCABULARY)
        network = make_task(tiny_llama).trainee.network
        measured = measure_reference(network, split.answers, [5, 2, 5], [], max_length=99, tokens_per_pack=64)
        assert measured.nats.isnan().all(dim=1).tolist() == [True, True, False, True, True, False, True]
        chosen = -float(of_answers(network, [split.rendered[5]])[0].detach())
        assert float(measured.nats[5, 0]) == pytest.approx(chosen, rel=1e-5)

    def test_dropout_is_off(self, tiny_llama: Path) -> None:
        split = random_pairs(2, VOCABULARY)
        network = make_task(tiny_llama).trainee.network.train()
        seen: list[bool] = []
        network.get_decoder().register_forward_pre_hook(lambda module, _: seen.append(module.training))
        measure_reference(network, split.answers, [0, 1], [], max_length=99, tokens_per_pack=64)
        assert seen
        assert not any(seen)

    def test_saved_and_loaded_to_the_bit(self, tiny_llama: Path, tmp_path: Path) -> None:
        split = random_judged(4, VOCABULARY)
        network = make_task(tiny_llama).trainee.network
        measured = measure_reference(network, split.answers, [0, 3], [(0, 3), (3, 0)], max_length=99, tokens_per_pack=64)
        bare = dataclasses.replace(measured, nats=measured.nats.clone(), mismatched={})
        save_references(tmp_path / "reference", {"train": measured, "validation": bare})
        loaded = load_references(tmp_path / "reference")
        assert loaded["train"].mismatched == measured.mismatched
        assert loaded["validation"].mismatched == {}
        assert loaded["train"].nats[[0, 3]].tolist() == measured.nats[[0, 3]].tolist()
        assert loaded["train"].nats[[1, 2]].isnan().all()

    def test_the_last_answer_alone(self) -> None:
        flags = (True, False, True, False, True, True)
        one = dataclasses.replace(random_judged(1, VOCABULARY).rendered[0], token_ids=tuple(range(6)), supervised=flags)
        assert answer_start(one) == 4
        assert answer_only(one).supervised == (False, False, False, False, True, True)
        assert answer_only(one).example is one.example

    def test_mismatch(self) -> None:
        first, second = random_judged(2, VOCABULARY).rendered
        crossed = mismatch(first, second, 1000)
        prompt, answer = split_tokens(first)[0], split_tokens(second)[1]
        assert crossed.token_ids == (*prompt, *answer)
        assert crossed.supervised == (*(False for _ in prompt), *(True for _ in answer))
        assert len(mismatch(first, second, len(prompt) + 1).token_ids) == len(prompt) + 1
