"""float32 masters in two halves: exact, clipped, added up, saved and read back as whole ones are."""

from __future__ import annotations

from collections.abc import MutableMapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from tunesmith.distributed.group import Group, Key
from tunesmith.engine.masters import TrainedWeights

BF16 = torch.bfloat16


def make_network(*, tied: bool = False) -> nn.Sequential:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Embedding(50, 8), nn.Linear(8, 8), nn.Linear(8, 50, bias=False))
    if tied:
        network[2].weight = network[0].weight
    return network


def run_backward(network: nn.Sequential, seed: int) -> None:
    ids = torch.randint(50, (30,), generator=torch.Generator().manual_seed(seed))
    nn.functional.cross_entropy(network(ids).float(), ids.roll(1)).backward()


def masters_of(weights: TrainedWeights) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in weights.state().items()}


@pytest.fixture(params=[False, True], ids=["untied", "tied"])
def pair(request: pytest.FixtureRequest) -> tuple[nn.Sequential, nn.Sequential, TrainedWeights, TrainedWeights]:
    """The same network twice, its masters whole and in halves. Both compute with the same bfloat16 numbers."""
    whole, halved = make_network(tied=request.param), make_network(tied=request.param)
    return whole, halved, TrainedWeights(whole, BF16), TrainedWeights(halved, BF16, in_halves=True)


def test_masters_are_exact_and_the_network_rounded(pair: tuple[nn.Sequential, nn.Sequential, TrainedWeights, TrainedWeights]) -> None:
    _, halved, _, weights = pair
    originals = dict(make_network(tied=halved[2].weight is halved[0].weight).named_parameters())
    assert weights.state().keys() == originals.keys() == weights.parameters.keys()
    assert len(weights.state()) == len(originals)
    for name, original in originals.items():
        assert torch.equal(weights.state()[name], original)
        assert torch.equal(weights.parameters[name], original.bfloat16())  # no ties among random numbers
    assert {p.dtype for p in halved.parameters()} == {BF16}


def test_memory(pair: tuple[nn.Sequential, nn.Sequential, TrainedWeights, TrainedWeights]) -> None:
    _, _, whole, halved = pair
    assert whole.masters_bytes == 4 * whole.num_parameters
    assert halved.masters_bytes == 2 * halved.num_parameters
    assert TrainedWeights(make_network(), torch.float32).masters_bytes == 0


def test_halves_are_for_bfloat16_alone() -> None:
    with pytest.raises(AssertionError, match="made for bfloat16"):
        TrainedWeights(make_network(), torch.float32, in_halves=True)


@pytest.mark.parametrize("micro_batches", [1, 3])
def test_gradients_are_those_of_whole_masters(
    pair: tuple[nn.Sequential, nn.Sequential, TrainedWeights, TrainedWeights], micro_batches: int
) -> None:
    whole, halved, masters, weights = pair
    for seed in range(micro_batches):
        run_backward(whole, seed)
        run_backward(halved, seed)
    found = dict(weights.take_gradients())
    assert {gradient.dtype for gradient in found.values()} == {BF16 if micro_batches == 1 else torch.float32}
    assert all(p.grad is None for p in halved.parameters())
    for name, gradient in found.items():
        # An embedding's rows are added up in another order, in bfloat16.
        torch.testing.assert_close(gradient.float(), masters.masters[name].grad, rtol=2**-6, atol=1e-3)
    assert found.keys() == masters.masters.keys()
    assert not dict(weights.take_gradients())


def test_gradients_of_micro_batches_add_up_in_float32() -> None:
    """256 + 1 is 256 in bfloat16: eight micro-batches of 1 would vanish."""
    layer = nn.Linear(1, 1, bias=False)
    weights = TrainedWeights(layer, BF16, in_halves=True)
    for factor in (256.0, *[1.0] * 8):
        (layer(torch.ones(1, 1, dtype=BF16)) * factor).sum().backward()
    assert float(dict(weights.take_gradients())["weight"]) == 264.0


class TwiceTheSame(Group):
    """Of two ranks, the other one like this, but that its last parameter got a gradient of ones."""

    def add_up(self, own: MutableMapping[Key, Tensor]) -> dict[Key, Tensor]:
        sums = {key: 2 * own.pop(key).float() for key in list(own)}
        return {key: total + (total == 0) if key in ("got", "2.weight") else total for key, total in sums.items()}


def test_gradients_of_ranks_add_up(pair: tuple[nn.Sequential, nn.Sequential, TrainedWeights, TrainedWeights]) -> None:
    """In float32, in the order of the parameters, which all ranks share; a weight without a gradient here has what others got."""
    for network, weights in zip(pair[:2], pair[2:], strict=True):
        run_backward(network, 0)
        last = list(weights.parameters)[-1]
        if network[0].weight is not network[2].weight:
            weights._for_sending(last)
        own = {name: gradient.float().clone() for name in weights.parameters if (gradient := weights._gradient(name)) is not None}
        weights.add_up_gradients(TwiceTheSame(size=2))
        found = {name: weights._gradient(name) for name in weights.parameters}
        assert not weights.in_halves or list(weights._gradients) == list(weights.parameters)
        for name, total in found.items():
            assert total is not None
            assert total.dtype == torch.float32
            assert torch.equal(total, 2 * own[name] if name in own else torch.ones_like(total))


def test_rows_of_a_tied_embedding_are_added_to_the_heads_gradient_in_place() -> None:
    network = make_network(tied=True)
    weights = TrainedWeights(network, BF16, in_halves=True)
    ids = torch.tensor([3, 3, 7])
    heads: list[Tensor] = []
    next(network.parameters()).register_post_accumulate_grad_hook(lambda _: heads.extend(weights._gradients.values()))
    nn.functional.cross_entropy(network(ids).float(), ids).backward()
    assert network[0].weight is network[2].weight
    assert dict(weights.take_gradients())["0.weight"] is heads[0]


@pytest.mark.parametrize("max_norm", [0.0, 0.01, 1e6])
def test_clipping(pair: tuple[nn.Sequential, nn.Sequential, TrainedWeights, TrainedWeights], max_norm: float) -> None:
    whole, halved, masters, weights = pair
    run_backward(whole, 0)
    run_backward(halved, 0)
    before = masters.masters["1.weight"].grad.norm()  # type: ignore[union-attr]
    assert weights.clip_gradients(max_norm) == pytest.approx(masters.clip_gradients(max_norm), rel=1e-3)
    factor = float(masters.masters["1.weight"].grad.norm() / before)  # type: ignore[union-attr]
    assert weights.gradient_scale == pytest.approx(factor, rel=1e-3)
    assert (weights.gradient_scale < 0.1) == (max_norm == 0.01)
    weights.clear_gradients()
    assert weights.gradient_scale == 1.0
    assert not dict(weights.take_gradients())


def test_saved_and_read_back(pair: tuple[nn.Sequential, nn.Sequential, TrainedWeights, TrainedWeights], tmp_path: Path) -> None:
    """One format for all kinds of masters: what one wrote, the other reads."""
    whole, halved, masters, weights = pair
    masters.save_to(tmp_path / "whole")
    weights.save_to(tmp_path / "halves")
    assert (tmp_path / "whole").read_bytes() == (tmp_path / "halves").read_bytes()
    saved = load_file(tmp_path / "halves")
    assert all(torch.equal(saved[name], master) for name, master in weights.state().items())
    changed = {name: tensor + 0.3 for name, tensor in masters_of(weights).items()}
    weights.load(changed)
    masters.load(changed)
    assert all(torch.equal(weights.state()[name], tensor) for name, tensor in changed.items())
    assert all(torch.equal(p, halved.get_parameter(name)) for name, p in whole.named_parameters())
    weights.load(load_file(tmp_path / "whole"))
    assert all(torch.equal(saved[name], master) for name, master in weights.state().items())
