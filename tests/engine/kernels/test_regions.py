"""The regions that GPUs compile: one graph each for every shape, with the results of the plain functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from tunesmith.engine.kernels import regions


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def inputs(name: str, tokens: int) -> tuple[Any, ...]:
    x, weight = noise(tokens, 16), noise(16)
    choices = {
        "rms_norm_forward": (x, weight, 1e-5, 0.0),
        "rms_norm_backward": (noise(tokens, 16) + 1, x, weight, noise(tokens, 1), 1.0),
        "gated_forward": (noise(tokens, 32), "silu"),
        "gated_backward": (noise(tokens, 32), x, "gelu_tanh"),
        "turn": (noise(4, tokens, 16), noise(tokens, 8), noise(tokens, 8)),
    }
    return choices[name]


def check(name: str, backend: str) -> None:
    torch._dynamo.reset()
    compilations: list[Any] = []

    def counting(graph: Any, example_inputs: Any) -> Callable[..., Any]:
        compilations.append(graph)
        compiled: Callable[..., Any] = torch._dynamo.lookup_backend(backend)(graph, example_inputs)
        return compiled

    compiled = torch.compile(regions.REGIONS[name], dynamic=True, fullgraph=True, backend=counting)
    for tokens in (5, 8, 33, 64):
        found, expected = compiled(*inputs(name, tokens)), regions.REGIONS[name](*inputs(name, tokens))
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert len(compilations) == 1


@pytest.mark.parametrize("name", regions.REGIONS)
def test_a_region_is_one_graph_for_all_lengths(name: str) -> None:
    check(name, "aot_eager")


@pytest.mark.slow
def test_inductor_computes_the_same() -> None:
    pytest.importorskip("torch._inductor")
    check("gated_backward", "inductor")


def test_on_a_cpu_and_in_short_runs_nothing_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda *args, **kwargs: pytest.fail("compiled"))
    with regions.compiled_if_worth(1000):
        regions.turn(*inputs("turn", 4))


def test_a_long_run_on_a_gpu_compiles_once(monkeypatch: pytest.MonkeyPatch) -> None:
    class OnGpu(Tensor):
        is_cuda = True  # type: ignore[assignment]

    calls: list[str] = []

    def fake(function: Any, **kwargs: Any) -> Any:
        calls.append(function.__name__)
        return function

    monkeypatch.setattr(torch, "compile", fake)
    double = regions.region(lambda x: x * 2)
    regions.REGIONS.pop("<lambda>")
    tensor = torch.ones(2).as_subclass(OnGpu)
    double(tensor)
    with regions.compiled_if_worth(regions.FEWEST_STEPS - 1):
        double(tensor)
    assert calls == []
    with regions.compiled_if_worth(regions.FEWEST_STEPS):
        double(tensor)
        double(tensor)
    assert len(calls) == 1
