"""The arithmetic of memory: against numbers worked out by hand, the engine's own counts, and what autograd keeps."""

from __future__ import annotations

import dataclasses
import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from tests.train.capacities import architecture, setup
from tunesmith.config import LoraConfig, Method, TrainConfig
from tunesmith.engine.attention import attending_by_segments
from tunesmith.engine.forward import decoder_hidden
from tunesmith.engine.kept import AT_ONCE, BUFFERS
from tunesmith.engine.loading import load_model
from tunesmith.engine.packing import Pack, bare, build_pack
from tunesmith.train.architecture import describe, read_network
from tunesmith.train.capacity import PROCESS_BYTES, Setup, Strategy, activation_bytes, logits_bytes, memory
from tunesmith.train.start import checkpoint_activations
from tunesmith.train.train import train

BILLION = 10**9
EIGHT = 8_030_261_248
EMBEDDING = 128_256 * 4096
LAYER = 2 * 4096 * 4096 + 2 * 4096 * 1024 + 3 * 4096 * 14336 + 2 * 4096


def test_full_training_of_eight_billion_on_eight_processes_by_hand() -> None:
    """Every matrix has a multiple of eight rows, so shares are exact eighths."""
    found = memory(architecture("llama-3.1-8b", "full"), setup("full"), "fsdp", 8)
    kept = 2 * 4096 + 2 * 4096 + 2 * 1024 + 2 * 14336  # norms' inputs; queries and result; keys and values; gate and up
    head = 4096 * (128_256 * (2 + 8)) + 2 * 4096 * 4096 * 2 + EMBEDDING * 2  # logits and copies in float32; states; gradient
    assert found.parts() == {
        "weights": 0,
        "masters": EIGHT * 4 // 8,
        "gradients": 0,
        "moments": EIGHT * 8 // 8,
        "gathered": 2 * (2 * EMBEDDING + 4096) + 2 * 2 * LAYER + 2 * 2 * 14336 * 4096,  # and gate beside up
        "reduction": 6 * LAYER,
        "activations": 4096 * (32 * (2 * kept + 4 * (32 + 2)) + 2 * 4096 * 2),
        "working": head,
        "process": PROCESS_BYTES["cuda"],
    }


def test_data_parallel_holds_it_all() -> None:
    """Rajbhandari et al. 2020: 2 + 4 + 4 + 8 bytes a weight."""
    one = memory(architecture("llama-3.1-8b", "full"), setup("full"), "ddp", 8)
    assert one.weights + one.masters + one.gradients + one.moments == 18 * EIGHT
    assert memory(architecture("llama-3.1-8b", "full"), setup("full"), "ddp", 64) == one


GOLDEN = {
    ("llama-3.2-1b", "full"): (27.1, 12.9, 11.2),
    ("llama-3.2-1b", "lora"): (6.8, 5.4, 5.1),
    ("llama-3.2-1b", "qlora"): (8.1, 7.7, 7.6),
    ("llama-3.1-8b", "full"): (145.9, 36.0, 25.4),
    ("llama-3.1-8b", "lora"): (30.1, 18.7, 16.9),
    ("llama-3.1-8b", "qlora"): (29.5, 26.4, 25.8),
    ("qwen3-32b", "full"): (591.6, 113.0, 70.0),
    ("qwen3-32b", "lora"): (115.5, 62.1, 54.8),
    ("qwen3-32b", "qlora"): (101.7, 87.2, 85.0),
    ("llama-3.1-70b", "full"): (1272.1, 188.2, 95.6),
    ("llama-3.1-70b", "lora"): (206.0, 88.6, 72.9),
    ("llama-3.1-70b", "qlora"): (153.2, 122.1, 117.7),
}
"""GB of a process with ddp, of eight and of 64 with fsdp; 4,096 tokens at a time."""


@pytest.mark.parametrize(("name", "method"), GOLDEN)
def test_golden_table(name: str, method: Method) -> None:
    """Changes when the formulas do: look at docs/scale.md then."""
    described = architecture(name, method)
    asked: list[tuple[Strategy, int]] = [("ddp", 8), ("fsdp", 8), ("fsdp", 64)]
    found = tuple(round(memory(described, setup(method), strategy, count).total / BILLION, 1) for strategy, count in asked)
    assert found == GOLDEN[name, method]


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("method", ["full", "freeze", "lora", "qlora"])
@pytest.mark.parametrize("tokens_per_step", [None, 65_536])
def test_more_processes_never_need_more_each(method: Method, device: Any, tokens_per_step: int | None) -> None:
    described = architecture("llama-3.2-1b", method)
    how = setup(method, device=device, tokens_per_step=tokens_per_step)
    needs = [memory(described, how, "fsdp", count).total for count in (*range(1, 20), 31, 32, 33, 64, 100, 1000)]
    assert needs == sorted(needs, reverse=True)
    assert needs[-1] < needs[0]


@pytest.mark.parametrize(("strategy", "count"), [("alone", 1), ("ddp", 4), ("fsdp", 4), ("fsdp-offload", 4)])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_what_trains_less_needs_less(strategy: Strategy, count: int, device: Any) -> None:
    """Weights, masters, gradients and moments; four bits lose a little of the fast way through the layers."""

    def state(method: Method) -> int:
        one = memory(architecture("llama-3.1-8b", method), setup(method, device=device), strategy, count)
        return one.weights + one.masters + one.gradients + one.moments + one.host

    assert state("qlora") < state("lora") < state("freeze") < state("full")


def test_a_small_micro_batch_in_four_bits_needs_least_of_all() -> None:
    totals = [memory(architecture("llama-3.1-8b", m), setup(m, tokens=512), "alone", 1).total for m in ("qlora", "lora", "full")]
    assert totals == sorted(totals)


def test_offloading_moves_the_shards() -> None:
    described = architecture("llama-3.1-8b", "full")
    here, there = (memory(described, setup("full"), strategy, 8) for strategy in ("fsdp", "fsdp-offload"))  # type: ignore[arg-type]
    assert there.total + there.host == here.total
    assert there.host == here.masters + here.gradients + here.moments


def test_rows_that_do_not_divide_are_rounded_up(tiny_llama: Path) -> None:
    """48 and 420 rows over 32 processes: two and fourteen, of the norms' 48 numbers two."""
    described = describe(read_network(tiny_llama / "config.json"), method="full")
    found = memory(described, setup("full", itemsize=4), "fsdp", 32)
    shares = 14 * 48 + 2 * (2 * (2 * 48) + 2 * (1 * 48) + 2 * (3 * 48) + 2 * 96 + 2 * 2) + 2
    assert found.masters == 4 * shares


def test_activation_checkpointing_keeps_inputs_and_one_layer() -> None:
    described = architecture("llama-3.1-8b", "lora")
    whole, again = (activation_bytes(described, setup("lora", activation_checkpointing=on), 4096) for on in (False, True))
    ends = 4096 * 2 * 4096 * 2
    assert again - ends == 32 * 4096 * 4096 * 2 + (whole - ends) // 32


def test_frozen_layers_below_keep_nothing() -> None:
    described = architecture("llama-3.1-8b", "freeze")
    trained, everything = (activation_bytes(one, setup("full"), 4096) for one in (described, architecture("llama-3.1-8b", "full")))
    ends = 4096 * 2 * 4096 * 2
    assert trained - ends == (everything - ends) * 4 // 32


def test_logits_come_in_chunks() -> None:
    described = architecture("llama-3.1-8b", "lora")
    states = 2 * 4096 * 2
    small, large = (logits_bytes(described, setup("lora"), tokens) for tokens in (4096, 40_960))
    assert large - small == (40_960 - 4096) * states


Settings = Callable[..., TrainConfig]


@pytest.mark.parametrize(
    ("changes", "tokens"),
    [
        ({"method": "full"}, 10_000),
        ({"method": "full", "dtype": "bfloat16"}, 10_000),
        ({"method": "full", "dtype": "bfloat16"}, 64),
        ({"method": "freeze", "trainable_layers": 1, "dtype": "bfloat16"}, 10_000),
        ({"method": "lora", "lora": {"rank": 4}}, 10_000),
        ({"method": "lora", "lora": {"rank": 4}, "dtype": "bfloat16"}, 10_000),
        ({"method": "full", "dtype": "bfloat16", "optimizer": "adafactor"}, 10_000),
    ],
)
def test_state_is_what_the_engine_counts(settings: Settings, tmp_path: Path, changes: dict[str, Any], tokens: int) -> None:
    """Of a real network with its real optimiser, `train/estimate.py`."""
    config = settings(max_steps=1, epochs=1, examples_per_step=32, tokens_per_micro_batch=tokens, **changes)
    counted = train(config, runs_dir=tmp_path, name="run").record()["cost"]["state_bytes"]
    method: Method = config.method
    described = describe(read_network(Path(config.model) / "config.json"), method=method, lora=LoraConfig(rank=4), trainable_layers=1)
    how = Setup(
        method=method,
        device="cpu",
        itemsize=2 if config.dtype == "bfloat16" else 4,
        tokens=tokens,
        tokens_per_step=640,
        optimizer=config.optimizer,
    )
    found = memory(described, how, "alone", 1)
    gradients = sum(one.count for one in described.weights if one.is_trained) * (2 if how.keeps_halves and tokens > 640 else 4)
    assert found.weights + found.masters + gradients + found.moments == counted


def a_pack(folder: Path) -> tuple[PreTrainedModel, Pack]:
    """A network that trains, and 310 tokens."""
    network = load_model(folder, dtype=torch.float32, device=torch.device("cpu")).network.train()
    generator = torch.Generator().manual_seed(0)
    examples = [bare(torch.randint(400, (length,), generator=generator).tolist(), supervised=True) for length in (120, 100, 90)]
    return network, build_pack(examples, range(3), network.device, share=False)


@pytest.mark.parametrize("model", ["wide_llama", "wide_gemma"])
def test_activations_are_what_autograd_keeps(model: str, request: pytest.FixtureRequest) -> None:
    """Every tensor saved by a real forward pass, each once."""
    folder: Path = request.getfixturevalue(model)
    network, pack = a_pack(folder)
    saved: dict[int, int] = {}
    alive: list[Tensor] = []
    weights = {parameter.untyped_storage().data_ptr() for parameter in network.parameters()}

    def note(tensor: Tensor) -> Tensor:
        place = tensor.untyped_storage().data_ptr()
        alive.append(tensor)  # or its memory would be another one's next
        if place not in weights:
            saved[place] = tensor.untyped_storage().nbytes()
        return tensor

    with attending_by_segments(network), torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        hidden = decoder_hidden(network, pack)
    described = describe(read_network(folder / "config.json"), method="full")
    assert described.is_fused
    assert hidden.requires_grad
    how = Setup(method="full", device="cpu", itemsize=4, tokens=310)
    assert sum(saved.values()) == pytest.approx(activation_bytes(described, how, 310), rel=0.05)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_checkpointing_lets_go_of_what_lies_in_buffers(wide_llama: Path, checkpointing: bool) -> None:
    """Gate and up, most of what a layer keeps."""
    network, pack = a_pack(wide_llama)
    if checkpointing:
        checkpoint_activations(network)
    BUFFERS.clear()
    gc.collect()
    before = {id(one) for one in gc.get_objects() if type(one) is Tensor}
    with attending_by_segments(network):
        hidden = decoder_hidden(network, pack)
        taken = [matrices for matrices in BUFFERS._free.values() if len(matrices) < AT_ONCE]
        assert [AT_ONCE - len(matrices) for matrices in taken] == ([] if checkpointing else [2])
        size = 310 * 2 * network.config.intermediate_size * 4
        new = [one for one in gc.get_objects() if type(one) is Tensor and id(one) not in before]
        assert not [one for one in new if one.untyped_storage().nbytes() == size]
        hidden.sum().backward()
    assert all(parameter.grad is not None for parameter in network.get_decoder().parameters())


def test_setup_divides_a_step() -> None:
    how = dataclasses.replace(setup("full"), tokens_per_step=32_768)
    assert [how.num_micro_batches(count) for count in (1, 2, 8, 16)] == [8, 4, 1, 1]
    assert [how.tokens_at_once(count) for count in (1, 8, 16)] == [4096, 4096, 2048]
