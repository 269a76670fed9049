"""Numbers in halves are exact; AdamW on them is torch's AdamW, natively and in plain torch."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tunesmith.engine.kernels import adamw, native
from tunesmith.engine.kernels.adamw import AdamW, Halves, Moments, adamw_, join, narrowed, new_moments, norm, split, widened_square

SIZES = [1, 7, 4096, 4097, 100_003]


def noise(size: int, seed: int = 0) -> Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(seed))


def same_bits(one: Tensor, other: Tensor) -> bool:
    return torch.equal(one.view(torch.int32), other.view(torch.int32))


class TestHalves:
    @given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=20))
    def test_every_float32_number_comes_back(self, bits: list[int]) -> None:
        values = torch.tensor(bits, dtype=torch.int64).to(torch.int32).view(torch.float32)
        assert same_bits(join(split(values)), values)

    @given(st.lists(st.floats(-(2.0**120), 2.0**120, width=32), min_size=1, max_size=20))
    def test_the_upper_half_is_the_nearest_bfloat16_number(self, numbers: list[float]) -> None:
        values = torch.tensor(numbers, dtype=torch.float32)
        ours, torchs = split(values).high.double(), values.bfloat16().double()
        assert torch.equal((ours - values).abs(), (torchs - values).abs())

    def test_of_two_equally_near_the_one_farther_from_zero(self) -> None:
        assert split(torch.tensor([1 + 2**-8, -1 - 2**-8])).high.tolist() == [1 + 2**-7, -1 - 2**-7]

    def test_in_chunks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(adamw, "CHUNK", 16)
        values = noise(100).view(4, 25)
        assert same_bits(join(split(values)), values)
        assert split(values).high.shape == split(values).low.shape == (4, 25)

    @given(st.lists(st.floats(0, 2.0**100, width=32), min_size=1, max_size=20))
    def test_squares_lose_less_than_one_part_in_65536(self, numbers: list[float]) -> None:
        squares = torch.tensor(numbers, dtype=torch.float32)
        back = widened_square(narrowed(torch.zeros_like(squares), squares))
        assert ((back.double() - squares.double()).abs() <= squares.double() / 65536 + 1e-42).all()


def torch_step(
    weight: Tensor, moments: tuple[Tensor, Tensor], gradient: Tensor, step: int, settings: AdamW
) -> tuple[Tensor, Tensor, Tensor]:
    """Weight and moments after torch's own update of float32 copies."""
    parameter = torch.nn.Parameter(weight.clone())
    optimizer = torch.optim.AdamW([parameter], lr=settings.rate, weight_decay=settings.weight_decay)
    mean, square = (one.clone() for one in moments)
    optimizer.state[parameter] = {"step": torch.tensor(float(step - 1)), "exp_avg": mean, "exp_avg_sq": square}
    parameter.grad = gradient.float() * settings.scale
    optimizer.step()
    return parameter.detach(), mean, square


@pytest.mark.usefixtures("way")
class TestUpdate:
    @pytest.mark.parametrize("size", SIZES)
    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
    def test_equals_torch_from_the_same_moments(self, size: int, dtype: torch.dtype) -> None:
        """Moments are rounded after the update that used them: the weights are torch's to float32's last bits."""
        settings = AdamW(rate=1e-2, weight_decay=0.1, scale=0.37)
        weight = split(noise(size))
        moments = new_moments(weight.high)
        for part in moments:
            part.fill_(77)  # the first update must not read them
        known = (torch.zeros(size), torch.zeros(size))
        for step in range(1, 6):
            gradient = (noise(size, step) * 0.1).to(dtype)
            expected, mean, square = torch_step(join(weight), known, gradient, step, settings)
            adamw_(weight, moments, gradient, step, settings)
            torch.testing.assert_close(join(weight), expected, rtol=1e-6, atol=1e-7)
            torch.testing.assert_close(moments.mean.float(), mean, rtol=2**-8, atol=1e-9)
            torch.testing.assert_close(widened_square(moments), square, rtol=2**-15, atol=1e-12)
            known = (moments.mean.float(), widened_square(moments))

    def test_many_steps_stay_with_torch(self) -> None:
        """A thousand updates by gradients of one size: plain bfloat16 squares would stop growing on the way."""
        parameter = torch.nn.Parameter(noise(64))
        optimizer = torch.optim.AdamW([parameter], lr=1e-3, weight_decay=0.0)
        weight = split(parameter.detach())
        moments = new_moments(weight.high)
        for step in range(1, 1001):
            parameter.grad = noise(64, step).bfloat16().float()
            optimizer.step()
            adamw_(weight, moments, parameter.grad.bfloat16(), step, AdamW(rate=1e-3, weight_decay=0.0))
        squares = optimizer.state[parameter]["exp_avg_sq"]
        torch.testing.assert_close(widened_square(moments), squares, rtol=1e-3, atol=0.0)
        torch.testing.assert_close(join(weight), parameter.detach(), rtol=0.0, atol=1e-3)

    @pytest.mark.parametrize("size", SIZES)
    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
    def test_norm(self, size: int, dtype: torch.dtype) -> None:
        tensors = [noise(size, 1).to(dtype), noise(3, 2).to(dtype)]
        assert norm(tensors) == pytest.approx(float(torch.cat(tensors).double().norm()), rel=1e-6)
        assert norm([]) == 0.0

    @pytest.mark.parametrize("value", [math.nan, math.inf])
    def test_norm_of_what_is_not_finite(self, value: float) -> None:
        assert not math.isfinite(norm([torch.tensor([1.0, value]).bfloat16()]))


@pytest.mark.usefixtures("compiled")
def test_native_and_plain_are_the_same_to_rounding() -> None:
    found: list[tuple[Halves, Moments]] = []
    for plain in (True, False):
        weight = split(noise(5000))
        moments = new_moments(weight.high)
        for step in range(1, 4):
            gradient = noise(5000, step).bfloat16()
            if plain:
                with native.plain_torch():
                    adamw_(weight, moments, gradient, step, AdamW(rate=1e-3, weight_decay=0.01))
            else:
                adamw_(weight, moments, gradient, step, AdamW(rate=1e-3, weight_decay=0.01))
        found.append((weight, moments))
    torch.testing.assert_close(join(found[0][0]), join(found[1][0]), rtol=1e-6, atol=2e-6)
    torch.testing.assert_close(widened_square(found[0][1]), widened_square(found[1][1]), rtol=2**-15, atol=0.0)
