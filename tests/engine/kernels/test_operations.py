"""Each operation, native and plain, against its formula written out in torch with gradients by autograd."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from tunesmith.engine.kernels import ACTIVATIONS, argmax, cross_entropy_, gated, gated_backward, gated_forward, native, rms_norm, rotary

TYPES = [torch.float32, torch.bfloat16]
SHAPES = [(0, 16), (1, 16), (3, 1), (2, 17), (5, 40), (33, 80), (4, 576)]
ROTATIONS = [(16, 16), (40, 40), (64, 64), (80, 32), (128, 128), (256, 64)]

pytestmark = pytest.mark.usefixtures("way")


def noise(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def assert_close(found: Tensor, expected: Tensor) -> None:
    """`expected` is computed in float32; what is found is that, rounded to its own type."""
    assert found.isfinite().all()
    rtol, atol = (2e-5, 2e-6) if found.dtype == torch.float32 else (2**-8, 1e-5)
    size = float(expected.detach().abs().max()) if expected.numel() else 1.0
    torch.testing.assert_close(found.float(), expected.float(), rtol=rtol, atol=atol * max(1.0, size))


def check(function: Callable[..., Tensor], plain: Callable[..., Tensor], *inputs: Tensor) -> None:
    """Value and gradients, the plain ones in float32 of the same numbers."""
    ours = [x.clone().requires_grad_() for x in inputs]
    wide = [x.float().requires_grad_() for x in inputs]
    found, expected = function(*ours), plain(*wide)
    assert found.dtype == inputs[0].dtype
    assert_close(found, expected)
    grad = noise(*expected.shape, dtype=found.dtype, seed=9)
    for one, other in zip(torch.autograd.grad(found, ours, grad), torch.autograd.grad(expected, wide, grad.float()), strict=True):
        assert_close(one, other)


def plain_norm(x: Tensor, weight: Tensor, eps: float = 1e-5, offset: float = 0.0) -> Tensor:
    return x / torch.sqrt((x * x).mean(-1, keepdim=True) + eps) * (weight + offset)


def plain_gated(gate_up: Tensor, activation: str) -> Tensor:
    gate, up = gate_up.chunk(2, dim=1)
    if activation == "silu":
        return gate / (1 + torch.exp(-gate)) * up
    inner = (2 / torch.pi) ** 0.5 * (gate + 0.044715 * gate**3)
    return 0.5 * gate * (1 + torch.tanh(inner)) * up


def plain_rotary(rows: Tensor, cosine: Tensor, sine: Tensor, num_rotated: int, num_heads: int) -> Tensor:
    heads, size = [], cosine.shape[1]
    for number, head in enumerate(rows.chunk(num_heads, dim=1)):
        part, rest = head[:, :size], head[:, size:]
        first, second = part.chunk(2, dim=1)
        turned = part * cosine + torch.cat([-second, first], dim=1) * sine
        heads.append(torch.cat([turned, rest], dim=1) if number < num_rotated else head)
    return torch.stack(heads)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("offset", [0.0, 1.0])
@pytest.mark.parametrize("shape", SHAPES)
def test_rms_norm(shape: tuple[int, int], offset: float, dtype: torch.dtype) -> None:
    x, weight = noise(*shape, dtype=dtype), noise(shape[1], dtype=dtype, seed=1)
    check(lambda x, w: rms_norm(x, w, 1e-5, offset), lambda x, w: plain_norm(x, w, 1e-5, offset), x, weight)


def test_rms_norm_of_more_dimensions_and_small_numbers() -> None:
    """Where `eps` is most of what is under the root; of heads that are not contiguous."""
    x = (1e-3 * noise(2, 3, 5, 16)).transpose(1, 2)
    check(lambda x, w: rms_norm(x, w, 1e-5, 0.0), plain_norm, x, noise(16, seed=1))


def test_rms_norm_with_a_frozen_weight_and_integer_settings() -> None:
    x, weight = noise(3, 16).requires_grad_(), noise(16, seed=1)
    y = rms_norm(x, weight, 1, 1)
    assert_close(y.detach(), plain_norm(x.detach(), weight, 1.0, 1.0))
    y.sum().backward()
    assert x.grad is not None
    assert weight.grad is None


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("shape", SHAPES)
def test_gated(shape: tuple[int, int], activation: str, dtype: torch.dtype) -> None:
    gate_up = 3 * noise(shape[0], 2 * shape[1], dtype=dtype)
    check(lambda x: gated(x, activation), lambda x: plain_gated(x, activation), gate_up)
    dout = noise(*shape, dtype=dtype, seed=2)
    assert torch.equal(gated_backward(dout, gate_up, activation)[1], gated_forward(gate_up, activation))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gated_of_rows_that_are_not_contiguous(activation: str) -> None:
    gate_up = noise(32, 6).T
    assert_close(gated(gate_up, activation), plain_gated(gate_up, activation))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations_over_the_whole_range(activation: str) -> None:
    """By their exponential: to a few units of the last place of float32, with float64 for a judge."""
    gate = torch.cat([torch.linspace(-80, 80, 20001), torch.tensor([-1e4, -200.0, -0.0, 0.0, 200.0, 1e4])])
    both = torch.stack([gate, torch.ones_like(gate)], dim=1)
    expected = functional.silu(gate.double()) if activation == "silu" else functional.gelu(gate.double(), approximate="tanh")
    torch.testing.assert_close(gated_forward(both, activation)[:, 0].double(), expected, rtol=1e-6, atol=3e-6)
    slopes = gated_backward(torch.ones(len(gate), 1), both, activation)[0][:, 0]
    wide = gate.double().requires_grad_()
    plain = functional.silu(wide) if activation == "silu" else functional.gelu(wide, approximate="tanh")
    torch.testing.assert_close(slopes.double(), torch.autograd.grad(plain.sum(), wide)[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(("dim", "rotated"), ROTATIONS)
@pytest.mark.parametrize("tokens", [0, 1, 7])
def test_rotary(tokens: int, dim: int, rotated: int, dtype: torch.dtype) -> None:
    """Whole heads and parts of them; the last head, a value, is copied. A cosine for each entry, not only for each pair."""
    rows = noise(tokens, 4 * dim, dtype=dtype)
    cosine, sine = noise(tokens, rotated, dtype=dtype, seed=1), noise(tokens, rotated, dtype=dtype, seed=2)
    half = rotated // 2
    cosine, sine = (torch.cat([x[:, :half]] * 2, dim=1) for x in (cosine, sine))  # transformers gives both of a pair the same
    check(lambda x: rotary(x, cosine, sine, 3, 4), lambda x: plain_rotary(x, cosine.float(), sine.float(), 3, 4), rows)


def test_rotary_keeps_lengths_and_copies_exactly() -> None:
    angles = torch.rand(5, 8)
    rows = noise(20, 64).T[:5]  # (5, 20): one head of 16 and one of 4 would not divide; cut below
    rows = rows[:, :16].repeat(1, 2)
    turned = rotary(rows, torch.cat([angles.cos()] * 2, 1), torch.cat([angles.sin()] * 2, 1), 1, 2)
    torch.testing.assert_close(turned[0].norm(dim=1), rows[:, :16].norm(dim=1))
    assert torch.equal(turned[1], rows[:, 16:])


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(("rows", "size"), [(0, 16), (1, 1), (1, 17), (3, 100), (9, 1031)])
def test_cross_entropy(rows: int, size: int, dtype: torch.dtype) -> None:
    logits = 5 * noise(rows, size, dtype=dtype)
    labels = torch.randint(size, (2 * rows,), generator=torch.Generator().manual_seed(0))[::2]
    wide = logits.float().clone().requires_grad_()
    expected = functional.cross_entropy(wide, labels, reduction="none")
    (0.25 * expected.sum()).backward()
    assert wide.grad is not None
    found = cross_entropy_(logits, labels, 0.25, True)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected.detach(), rtol=1e-5, atol=2e-5)
    assert_close(logits, wide.grad)


def test_cross_entropy_without_a_gradient_and_with_an_integer_weight() -> None:
    logits, labels = noise(3, 20), torch.tensor([1, 0, 19], dtype=torch.int32)
    expected = functional.cross_entropy(logits, labels.long(), reduction="none")
    torch.testing.assert_close(cross_entropy_(logits.clone(), labels, 1, False), expected)
    cross_entropy_(logits, labels, 1, True)
    torch.testing.assert_close(logits.sum(-1), torch.zeros(3), atol=1e-6, rtol=0)
    assert (logits[torch.arange(3), labels.long()] < 0).all()


def test_cross_entropy_of_large_and_forbidden_logits() -> None:
    logits = torch.tensor([[3e4, -3e4, 0.0, 2e4], [1.0, -torch.inf, 2.0, -torch.inf], [500.0, 500.0, 500.0, 500.0]])
    labels = torch.tensor([0, 2, 3])
    wide = logits.clone().requires_grad_()
    expected = functional.cross_entropy(wide, labels, reduction="none")
    expected.sum().backward()
    torch.testing.assert_close(cross_entropy_(logits, labels, 1.0, True), expected.detach(), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(logits, wide.grad, rtol=1e-6, atol=1e-6)
    assert cross_entropy_(torch.tensor([[0.0, -torch.inf]]), torch.tensor([1]), 1.0, True)[0] == torch.inf


@pytest.mark.parametrize("label", [-100, -1, 4])
def test_a_label_that_is_no_token_is_refused(label: int) -> None:
    """A kernel would write there."""
    with pytest.raises(IndexError):
        cross_entropy_(noise(2, 4), torch.tensor([0, label]), 1.0, True)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_what_is_not_finite_stays_so(bad: float, dtype: torch.dtype) -> None:
    """Or else a run that has gone wrong would go on; and only the row where it is is spoilt."""
    x = noise(3, 40, dtype=dtype)
    x[1, 17] = bad
    normed = rms_norm(x, torch.ones(40, dtype=dtype), 1e-5, 0.0)
    assert normed[1].isnan().any()
    assert normed[[0, 2]].isfinite().all()
    for activation in ACTIVATIONS:
        out = gated_forward(x, activation)
        assert out.isfinite().all(dim=1).tolist() == [True, False, True]
        grad, _ = gated_backward(torch.full((3, 20), bad, dtype=dtype), noise(3, 40, dtype=dtype), activation)
        assert not grad.isfinite().any()
    angles = torch.zeros(3, 40, dtype=dtype)
    assert not rotary(x, angles + 1, angles, 1, 1).isfinite().all()
    nats = cross_entropy_(x, torch.tensor([0, 1, 2]), 1.0, True)
    assert nats.isfinite().tolist() == [True, False, True]
    assert x[1].isnan().any()
    assert x[[0, 2]].isfinite().all()


def test_a_gradient_that_is_not_finite_stays_so() -> None:
    x, weight = noise(3, 40).requires_grad_(), torch.ones(40, requires_grad=True)
    dy = torch.ones(3, 40)
    dy[2, 3] = torch.nan
    dx, dweight = torch.autograd.grad(rms_norm(x, weight, 1e-5, 0.0), (x, weight), dy)
    assert dx.isfinite().all(dim=1).tolist() == [True, True, False]
    assert dweight.isnan().sum() == 1


def test_a_second_derivative_is_refused() -> None:
    """It would be wrong in silence: kernels leave no graph."""
    x = noise(2, 16).requires_grad_()
    (first,) = torch.autograd.grad(rms_norm(x, torch.ones(16), 1e-5, 0.0).pow(2).sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()


@pytest.mark.parametrize("dtype", TYPES)
def test_threads_make_no_difference(dtype: torch.dtype) -> None:
    """But for the sum over rows of a norm's weight gradient, which is close, and the same every time."""

    def run(threads: int) -> list[Tensor]:
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            x, weight = noise(37, 48, dtype=dtype).requires_grad_(), noise(48, dtype=dtype, seed=1).requires_grad_()
            normed = rms_norm(x, weight, 1e-5, 0.0)
            product = gated(normed, "silu")
            grads = torch.autograd.grad(product, (x, weight), noise(37, 24, dtype=dtype, seed=3))
            logits = noise(37, 48, dtype=dtype, seed=4)
            nats = cross_entropy_(logits, torch.arange(37), 1.0, True)
        finally:
            torch.set_num_threads(before)
        return [normed.detach(), product.detach(), grads[0], logits, nats, grads[1]]

    one, two, again = run(1), run(2), run(2)
    assert all(torch.equal(a, b) for a, b in zip(two, again, strict=True))
    if native.usable(one[0]):
        assert all(torch.equal(a, b) for a, b in zip(one[:-1], two[:-1], strict=True))
    assert_close(two[-1], one[-1].float())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_argmax_takes_the_first_of_several(way: str, dtype: torch.dtype) -> None:
    rows = torch.tensor([[1.0, 5.0, 5.0, -2.0], [-3.0, -4.0, -3.5, -9.0], [0.0, 0.0, 0.0, float("inf")]], dtype=dtype)
    assert argmax(rows).tolist() == [1, 0, 3]
    many = torch.randn(7, 1001).to(dtype)
    assert torch.equal(many.gather(1, argmax(many)[:, None]).squeeze(1), many.max(dim=1).values)
