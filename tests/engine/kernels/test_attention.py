"""The forest attention kernel against attention written out with a mask, values and gradients."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import accumulate

import pytest
import torch
from torch import Tensor

from tunesmith.engine.kernels import native
from tunesmith.engine.kernels.attention import build_paths, forest_attention

pytestmark = pytest.mark.usefixtures("compiled")

Parents = Sequence[int | None]

FORESTS: dict[str, tuple[list[int], Parents]] = {
    "one token": ([1], [None]),
    "one segment": ([33], [None]),
    "strangers": ([32, 31, 1, 64, 7], [None] * 5),
    "chain": ([5, 1, 40, 3, 33], [None, 0, 1, 2, 3]),
    "many children": ([37, 1, 2, 31, 32, 33, 1, 5], [None, *[0] * 7]),
    "tree": ([20, 3, 10, 1, 4, 50, 2, 6], [None, 0, 1, 1, 0, None, 5, 5]),
    "long": ([700], [None]),
    "long family": ([300, 130, 1, 200], [None, 0, 0, 1]),
}


def mask_of(lengths: Sequence[int], parents: Parents, window: int | None) -> Tensor:
    """(T, T), True where a token sees another: by its path, one token at a time."""
    starts = [0, *accumulate(lengths)]
    mask = torch.zeros(starts[-1], starts[-1], dtype=torch.bool)
    for segment, length in enumerate(lengths):
        before: list[int] = []
        parent = parents[segment]
        while parent is not None:
            before = [*range(starts[parent], starts[parent] + lengths[parent]), *before]
            parent = parents[parent]
        seen = before
        for token in range(starts[segment], starts[segment] + length):
            seen = [*seen, token]
            mask[token, seen[-window:] if window else seen] = True
    return mask


def written_out(query: Tensor, key: Tensor, value: Tensor, mask: Tensor, scaling: float) -> Tensor:
    """(T, H, D), all in float32."""
    group = len(query) // len(key)
    key, value = (x.repeat_interleave(group, dim=0) for x in (key, value))
    scores = (query @ key.transpose(1, 2) * scaling).masked_fill(~mask, -torch.inf)
    return (scores.softmax(-1) @ value).transpose(0, 1)


def states(heads: int, kv_heads: int, tokens: int, dim: int, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    generator = torch.Generator().manual_seed(heads * tokens + dim)
    return [torch.randn(n, tokens, dim, generator=generator).to(dtype).requires_grad_() for n in (heads, kv_heads, kv_heads)]


def run(
    inputs: Sequence[Tensor], lengths: Sequence[int], parents: Parents, window: int | None = None, scaling: float = 0.3
) -> tuple[Tensor, ...]:
    """Value and gradients for a fixed gradient of the result."""
    starts = [0, *accumulate(lengths)][:-1]
    out = forest_attention(*inputs, build_paths(starts, lengths, parents), scaling, window)
    return (out.detach(), *torch.autograd.grad(out, inputs, slope_of(out)))


def slope_of(out: Tensor) -> Tensor:
    return torch.randn(out.shape, generator=torch.Generator().manual_seed(7)).to(out.dtype)


def expected_of(inputs: Sequence[Tensor], lengths: Sequence[int], parents: Parents, window: int | None) -> tuple[Tensor, ...]:
    wide = [x.detach().float().requires_grad_() for x in inputs]
    out = written_out(*wide, mask_of(lengths, parents, window), 0.3)
    slope = torch.randn(out.shape, generator=torch.Generator().manual_seed(7)).to(inputs[0].dtype).float()
    return (out.detach(), *torch.autograd.grad(out, wide, slope))


def assert_close(found: Sequence[Tensor], expected: Sequence[Tensor]) -> None:
    for one, other in zip(found, expected, strict=True):
        rounding = 2e-5 if one.dtype == torch.float32 else 2e-2
        torch.testing.assert_close(one.float(), other, rtol=rounding, atol=rounding * max(1.0, float(other.abs().max())))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("window", [None, 1, 5, 40])
@pytest.mark.parametrize("forest", FORESTS)
def test_equals_attention_written_out(forest: str, window: int | None, dtype: torch.dtype) -> None:
    lengths, parents = FORESTS[forest]
    inputs = states(4, 2, sum(lengths), 16, dtype)
    assert_close(run(inputs, lengths, parents, window), expected_of(inputs, lengths, parents, window))


@pytest.mark.parametrize("dim", [1, 8, 40, 64, 80, 128, 256])
@pytest.mark.parametrize(("heads", "kv_heads"), [(1, 1), (3, 3), (6, 2), (4, 1)])
def test_heads_of_all_sizes(heads: int, kv_heads: int, dim: int) -> None:
    lengths, parents = [35, 3, 1], [None, 0, 0]
    inputs = states(heads, kv_heads, sum(lengths), dim)
    assert_close(run(inputs, lengths, parents), expected_of(inputs, lengths, parents, None))


@pytest.mark.parametrize("seed", range(12))
def test_random_forests(seed: int) -> None:
    dice = random.Random(seed)
    lengths = [dice.choice([1, 2, 15, 32, 50]) for _ in range(dice.randrange(1, 12))]
    parents: Parents = [dice.choice([None, *range(number)]) for number in range(len(lengths))]
    window = dice.choice([None, 3, 17, 64])
    inputs = states(2, 1, sum(lengths), 24)
    assert_close(run(inputs, lengths, parents, window), expected_of(inputs, lengths, parents, window))


def test_an_integer_scaling_is_a_scaling() -> None:
    """A configuration file may say `1`."""
    inputs = states(2, 1, 9, 16)
    for one, other in zip(run(inputs, [9], [None], scaling=1), run(inputs, [9], [None], scaling=1.0), strict=True):
        assert torch.equal(one, other)


def test_no_tokens() -> None:
    inputs = states(2, 1, 0, 16)
    assert [x.numel() for x in run(inputs, [], [])] == [0] * 4


def test_states_that_are_not_contiguous() -> None:
    lengths, parents = FORESTS["tree"]
    straight = states(4, 2, sum(lengths), 16)
    strided = [x.detach().transpose(0, 1).contiguous().transpose(0, 1).requires_grad_() for x in straight]
    for one, other in zip(run(strided, lengths, parents), run(straight, lengths, parents), strict=True):
        assert torch.equal(one, other)


def test_large_logits_and_what_is_not_finite() -> None:
    lengths, parents = [10, 4], [None, None]
    query, key, value = states(1, 1, 14, 16)
    steep = [(100 * query).detach().requires_grad_(), (100 * key).detach().requires_grad_(), value]
    assert all(x.isfinite().all() for x in run(steep, lengths, parents))
    with torch.no_grad():
        key[0, 3, 5] = torch.nan
    out, *grads = run([query, key, value], lengths, parents)
    assert out[3:10].isnan().all()
    assert out[10:].isfinite().all(), "another segment"
    assert all(grad[0, :10].isnan().any() and grad[0, 10:].isfinite().all() for grad in grads)


@pytest.mark.parametrize("forest", ["tree", "many children", "strangers", "long family"])
def test_deterministic_with_one_and_two_threads(forest: str) -> None:
    """All but the gradients of shared keys and values, whose parts are added up thread by thread, is independent of threads too."""
    lengths, parents = FORESTS[forest]
    inputs = states(4, 2, sum(lengths), 16)

    def with_threads(number: int) -> tuple[Tensor, ...]:
        before = torch.get_num_threads()
        torch.set_num_threads(number)
        try:
            return run(inputs, lengths, parents)
        finally:
            torch.set_num_threads(before)

    one, two, again = with_threads(1), with_threads(2), with_threads(2)
    assert all(torch.equal(a, b) for a, b in zip(two, again, strict=True))
    starts = [0, *accumulate(lengths)][:-1]
    alone = build_paths(starts, lengths, parents).is_shared == 0
    assert torch.equal(one[0], two[0])
    assert torch.equal(one[1], two[1])
    for a, b in zip(one[2:], two[2:], strict=True):
        assert torch.equal(a[:, alone], b[:, alone])
        torch.testing.assert_close(a, b)


def test_paths() -> None:
    paths = build_paths([0, 3, 5, 6], [3, 2, 1, 4], [None, 0, 1, None])
    assert paths.first.tolist() == [0, 1, 3, 6, 7]
    assert paths.start.tolist() == [0, 0, 3, 0, 3, 5, 6]
    assert paths.length.tolist() == [3, 3, 2, 3, 2, 1, 4]
    assert paths.is_shared.tolist() == [1] * 5 + [0] * 5
    assert paths.any_shared
    assert not build_paths([0, 3], [3, 2], [None, None]).any_shared


def test_only_what_the_kernel_can_take_is_usable() -> None:
    x = torch.zeros(4, 4)
    assert native.usable(x, x)
    assert not native.usable(x, x.bfloat16())
    assert not native.usable(x.double())
    assert not native.usable(x.half())
    assert not native.usable(x[:, :2])
    assert not native.usable(x.to("meta"))
    with native.plain_torch():
        assert not native.usable(x)
        with native.plain_torch():
            pass
        assert not native.usable(x)
    assert native.usable(x)
