"""The engine's laws on the two named models, in float32."""

from __future__ import annotations

import pytest
import torch

from tests.engine import reference
from tests.engine.generation.test_generate import by_transformers
from tests.samples import qa
from tunesmith.assets import resolve_model
from tunesmith.config import GenerateConfig, LoraConfig
from tunesmith.engine.adapters import add_lora
from tunesmith.engine.attention import attending_by_segments
from tunesmith.engine.generation.generate import generate
from tunesmith.engine.generation.slot_parity import why_not_in_slots
from tunesmith.engine.loading import LoadedModel, load_model
from tunesmith.engine.loss import pack_loss
from tunesmith.engine.packing import build_pack
from tunesmith.engine.parity import refuse_unfaithful
from tunesmith.engine.score import score
from tunesmith.errors import AssetError
from tunesmith.render.renderer import Renderer

pytestmark = pytest.mark.slow

PAIRS = [
    ("What is LoRA?", "A low-rank adapter: two small matrices whose product is added to a frozen weight."),
    ("Why does the loss rise?", "The learning rate may be too high."),
    ("Hi", "Hello!"),
    ("Name three primary colours. " * 3, "Red, yellow and blue."),
]


@pytest.fixture(scope="module", params=["smollm2-135m-instruct", "gemma3-270m"])
def loaded(request: pytest.FixtureRequest) -> LoadedModel:
    patch = pytest.MonkeyPatch()
    patch.setenv("TUNESMITH_ACCEPT_TERMS", "gemma3-270m")
    try:
        directory = resolve_model(request.param).directory
    except AssetError as error:
        pytest.skip(f"{request.param} cannot be had: {error}")
    finally:
        patch.undo()
    return load_model(directory, dtype=torch.float32, device=torch.device("cpu"))


@pytest.fixture(scope="module")
def renderer(loaded: LoadedModel) -> Renderer:
    return Renderer.for_model(loaded.tokenizer, "auto", loaded.stop_ids)


def test_packed_equals_unpacked(loaded: LoadedModel, renderer: Renderer) -> None:
    refuse_unfaithful(loaded.network)
    examples = [renderer.render(qa(*pair)) for pair in PAIRS]
    for loss, example in zip(score(loaded.network, examples), examples, strict=True):
        assert loss.total == pytest.approx(reference.total_nats(loaded.network, example), rel=1e-4)


def test_batched_generation_equals_single_equals_transformers(loaded: LoadedModel, renderer: Renderer) -> None:
    prompts = [renderer.prompt_ids(qa(*pair).prompt_messages) for pair in PAIRS]
    assert why_not_in_slots(loaded.network) == ""
    config = GenerateConfig(max_new_tokens=8, batch_size=3)
    limits = {"stop_ids": renderer.stop_ids, "context_length": loaded.context_length, "parse": renderer.parse}
    together = generate(loaded.network, prompts, config, **limits)
    assert together == [generate(loaded.network, [prompt], config, **limits)[0] for prompt in prompts]
    for completion, prompt in zip(together, prompts, strict=True):
        assert list(completion.token_ids) == by_transformers(loaded.network, prompt, 8)[: len(completion.token_ids)]


def test_gradients_of_an_adapter(loaded: LoadedModel, renderer: Renderer) -> None:
    """Last, for it leaves the adapter on the network."""
    torch.manual_seed(0)
    adapted = add_lora(loaded.network, LoraConfig(rank=4, alpha=32), "base")
    examples = [renderer.render(qa(*pair)) for pair in PAIRS]
    reference.mean_loss(adapted, examples).backward()
    expected = reference.gradients(adapted)
    with attending_by_segments(loaded.network):
        pack = build_pack(examples, range(len(examples)), loaded.device)
        pack_loss(loaded.network, pack, weight=1 / pack.num_supervised).total.backward()
    found = reference.gradients(adapted)
    moved = {name: gradient for name, gradient in expected.items() if "lora_B" in name}  # A's are zero while B is
    reference.assert_same_gradients({name: found[name] for name in moved}, moved, tolerance=5e-3)
