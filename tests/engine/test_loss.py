"""The chunked loss against the plain one on all logits at once."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.engine import reference
from tunesmith.engine.loss import _SummedCrossEntropy, output_head

ROWS, VOCABULARY, WIDTH = 10, 50, 8


def plain(hidden: Tensor, weight: Tensor, bias: Tensor | None, scale: float, softcap: float | None, labels: Tensor) -> Tensor:
    logits = functional.linear(hidden, weight, bias) * scale
    if softcap:
        logits = softcap * torch.tanh(logits / softcap)
    return functional.cross_entropy(logits, labels, reduction="sum")


@pytest.mark.parametrize(
    ("has_bias", "scale", "softcap", "rows_per_chunk"), list(itertools.product([False, True], [1.0, 0.25], [None, 2.0], [1, 3, 100]))
)
def test_chunked_equals_plain(
    monkeypatch: pytest.MonkeyPatch, has_bias: bool, scale: float, softcap: float | None, rows_per_chunk: int
) -> None:
    monkeypatch.setattr("tunesmith.engine.loss.CHUNK_BYTES", 4 * VOCABULARY * rows_per_chunk)
    monkeypatch.setattr("tunesmith.engine.loss.TRAINING_CHUNK_SHARE", 0)
    monkeypatch.setattr("tunesmith.engine.loss.VOCABULARY_PART", 4)
    torch.manual_seed(0)
    hidden, weight = torch.randn(ROWS, WIDTH, requires_grad=True), torch.randn(VOCABULARY, WIDTH, requires_grad=True)
    bias = torch.randn(VOCABULARY, requires_grad=True) if has_bias else None
    labels = torch.randint(VOCABULARY, (ROWS,))
    inputs = [tensor for tensor in (hidden, weight, bias) if tensor is not None]
    expected = plain(hidden, weight, bias, scale, softcap, labels)
    expected_gradients = torch.autograd.grad(0.125 * 3 * expected, inputs)
    total, nats = _SummedCrossEntropy.apply(hidden, weight, bias, scale, softcap, labels, 0.125)
    found_gradients = torch.autograd.grad(3 * total, inputs)
    assert float(total.detach()) == pytest.approx(0.125 * float(expected.detach()), rel=1e-5)
    assert float(nats.sum()) == pytest.approx(float(expected.detach()), rel=1e-5)
    for found, wanted in zip(found_gradients, expected_gradients, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("trained", ["hidden", "weight", "bias"])
def test_only_what_trains_gets_a_gradient(trained: str) -> None:
    torch.manual_seed(0)
    hidden, weight, bias = torch.randn(ROWS, WIDTH), torch.randn(VOCABULARY, WIDTH), torch.randn(VOCABULARY)
    labels = torch.randint(VOCABULARY, (ROWS,))
    chosen = {"hidden": hidden, "weight": weight, "bias": bias}[trained].requires_grad_()
    total, _ = _SummedCrossEntropy.apply(hidden, weight, bias, 1.0, None, labels, 1.0)
    (found,) = torch.autograd.grad(total, [chosen])
    (wanted,) = torch.autograd.grad(plain(hidden, weight, bias, 1.0, None, labels), [chosen])
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def test_no_gradient_no_cost() -> None:
    torch.manual_seed(0)
    hidden, weight, labels = torch.randn(ROWS, WIDTH), torch.randn(VOCABULARY, WIDTH), torch.randint(VOCABULARY, (ROWS,))
    total, nats = _SummedCrossEntropy.apply(hidden, weight, None, 1.0, None, labels, 1.0)
    assert not total.requires_grad
    torch.testing.assert_close(nats, functional.cross_entropy(hidden @ weight.T, labels, reduction="none"))


def test_extreme_logits_stay_finite() -> None:
    hidden, weight = torch.full((2, 1), 1e4, requires_grad=True), torch.tensor([[1.0], [-1.0], [0.0]])
    total, nats = _SummedCrossEntropy.apply(hidden, weight, None, 1.0, None, torch.tensor([0, 1]), 1.0)
    total.backward()
    assert nats.tolist() == [0.0, 20_000.0]
    assert torch.isfinite(hidden.grad).all()


def test_no_supervised_token_is_no_loss() -> None:
    hidden, weight = torch.zeros(0, WIDTH, requires_grad=True), torch.randn(VOCABULARY, WIDTH, requires_grad=True)
    total, nats = _SummedCrossEntropy.apply(hidden, weight, None, 1.0, None, torch.zeros(0, dtype=torch.long), 1.0)
    total.backward()
    assert float(total.detach()) == 0.0
    assert len(nats) == 0
    assert not weight.grad.any()


def test_bfloat16_gradients_are_close() -> None:
    torch.manual_seed(0)
    hidden, weight, labels = torch.randn(64, WIDTH), torch.randn(VOCABULARY, WIDTH), torch.randint(VOCABULARY, (64,))
    half_hidden, half_weight = hidden.bfloat16().requires_grad_(), weight.bfloat16().requires_grad_()
    total, _ = _SummedCrossEntropy.apply(half_hidden, half_weight, None, 1.0, None, labels, 1 / 64)
    total.backward()
    hidden.requires_grad_(), weight.requires_grad_()
    (plain(hidden, weight, None, 1.0, None, labels) / 64).backward()
    assert half_weight.grad.dtype == torch.bfloat16
    for found, wanted in ((half_hidden.grad, hidden.grad), (half_weight.grad, weight.grad)):
        assert float((found.float() - wanted).norm() / wanted.norm()) < 0.02


def test_output_head_reads_the_architecture() -> None:
    assert output_head(reference.tiny("cohere", logit_scale=0.3))[2:] == (0.3, None)
    assert output_head(reference.tiny("granite", logits_scaling=4.0))[2:] == (0.25, None)
    assert output_head(reference.tiny("gemma2", head_dim=8, final_logit_softcapping=3.0))[2:] == (1.0, 3.0)
    assert output_head(reference.tiny("phi")).bias is not None
    tied = reference.tiny("llama", tie_word_embeddings=True)
    assert output_head(tied).weight is tied.get_input_embeddings().weight


def test_output_head_wants_a_linear_layer() -> None:
    network = reference.tiny("llama")
    network.set_output_embeddings(nn.Identity())
    with pytest.raises(TypeError, match="no linear output layer"):
        output_head(network)
