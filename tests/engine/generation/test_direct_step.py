"""A decode step written out gives what the model's own forward gives, and steps aside where it cannot."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from tests.engine import reference
from tests.engine.generation.test_generate import PROMPTS, WITH_HEADS, by_transformers, complete
from tunesmith.engine.fast import speed_up
from tunesmith.engine.generation import slot_parity
from tunesmith.engine.generation.direct_step import DirectStep, can_step_directly
from tunesmith.engine.generation.slot_runner import SlotRunner
from tunesmith.engine.kernels import native

ARCHITECTURES: dict[str, dict[str, Any]] = {
    "llama": {},
    "llama with biases": {"attention_bias": True},
    "mistral": {"sliding_window": 8},
    "qwen2": {},
    "qwen2 with windows": {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1},
    "qwen3": {"head_dim": 32},
}
WIDTHS = {"hidden_size": 64, "num_attention_heads": 2, "num_key_value_heads": 1}
"""Heads of 32, a size that the kernel knows."""


def fast(kind: str = "llama", **settings: Any) -> PreTrainedModel:
    network = reference.tiny(kind.split(maxsplit=1)[0], **WIDTHS, **{**ARCHITECTURES[kind], **settings})
    speed_up(network)
    return network


@pytest.fixture(autouse=True)
def compiled() -> None:
    if native.library().handle is None:
        pytest.skip(native.library().reason)


@pytest.fixture
def num_steps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The rows of every step that is taken directly."""
    rows: list[int] = []
    hidden = DirectStep.hidden

    def counted(self: DirectStep, token_ids: torch.Tensor, *others: Any) -> torch.Tensor:
        rows.append(len(token_ids))
        return hidden(self, token_ids, *others)

    monkeypatch.setattr(DirectStep, "hidden", counted)
    return rows


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_greedy_texts_are_transformers_own(kind: str, num_steps: list[int]) -> None:
    network = fast(kind)
    expected = [by_transformers(network, prompt) for prompt in WITH_HEADS]
    for batch_size in (1, 5, 16):
        num_steps.clear()
        assert [list(one.token_ids) for one in complete(network, WITH_HEADS, batch_size=batch_size)] == expected
        assert len(num_steps) > 20


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_under_adapters_too(kind: str, dtype: torch.dtype, num_steps: list[int]) -> None:
    """The trial that every network goes through, with an adapter that does something on all layers."""
    network = fast(kind).to(dtype)
    adapted = reference.with_adapter(network)
    assert slot_parity._find_reason(adapted.base_model.model) == ""
    assert num_steps


def test_the_adapter_is_not_forgotten() -> None:
    network = fast()
    plain = complete(network, PROMPTS)
    adapted = reference.with_adapter(network)
    with_it = complete(adapted.base_model.model, PROMPTS)
    assert with_it != plain
    with adapted.disable_adapter():
        assert complete(adapted.base_model.model, PROMPTS) == plain


def test_whoever_waits_for_a_module_is_heard(num_steps: list[int]) -> None:
    network = fast()
    expected = complete(network, PROMPTS)
    assert num_steps
    for module in (network.get_decoder(), network.get_decoder().layers[1], network.get_decoder().layers[0].mlp.down_proj):
        num_steps.clear()
        calls: list[int] = []
        handle = module.register_forward_hook(partial(lambda calls, *_: calls.append(1), calls))
        assert not can_step_directly(network)
        assert complete(network, PROMPTS) == expected
        handle.remove()
        assert calls
        assert not num_steps


def test_what_cannot_step_directly() -> None:
    assert can_step_directly(fast())
    assert not can_step_directly(reference.tiny("llama", **WIDTHS)), "its modules take the slow way"
    assert not can_step_directly(reference.tiny("gemma2", **WIDTHS, head_dim=32)), "its layers are others"
    small = reference.tiny("llama")
    speed_up(small)
    assert not can_step_directly(small), "heads of 8"
    with native.plain_torch():
        assert not can_step_directly(fast())


def test_prompts_enter_beside_running_sequences() -> None:
    """A call for the prompts and a direct step for the others, in their order."""
    network = fast()
    runner = SlotRunner(network, num_slots=3, tokens_per_pack=64)
    first, second = (slot_parity._begin(number, PROMPTS[number]) for number in (1, 3))
    with torch.inference_mode():
        first.last_token = int(runner.logits([first], []).argmax())
        first.num_new = 1
        found = runner.logits([second], [first])
        alone = [network(input_ids=torch.tensor([ids])).logits[0, -1] for ids in (PROMPTS[3], [*PROMPTS[1], first.last_token])]
    torch.testing.assert_close(found, torch.stack(alone), rtol=1e-4, atol=1e-4)
