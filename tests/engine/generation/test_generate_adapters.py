"""Requests of several adapters on one network, decoded together: each gets what its adapter gives alone."""

from __future__ import annotations

import itertools
from contextlib import nullcontext
from typing import Any

import peft
import pytest
import torch
from transformers import PreTrainedModel

from tests.engine import reference
from tests.engine.generation.test_direct_step import WIDTHS, fast
from tests.engine.generation.test_generate import HEAD, PROMPTS, by_transformers, complete
from tests.engine.generation.test_generate_decoder import run, tokens
from tunesmith.config import GenerateConfig
from tunesmith.engine.generation import slot_parity
from tunesmith.engine.generation.adapter_switch import AdapterSwitch
from tunesmith.engine.generation.decoder import Decoder
from tunesmith.engine.generation.direct_step import AdapterRows, DirectStep, adapter_rows
from tunesmith.engine.generation.sequences import NewToken, Request
from tunesmith.engine.kernels import native
from tunesmith.engine.vocabulary import train_new_rows
from tunesmith.errors import ConfigError

SETTINGS: dict[str, dict[str, Any]] = {
    "adapter-1": {"r": 4, "lora_alpha": 8},
    "adapter-2": {"r": 3, "lora_alpha": 12, "use_rslora": True},
    "adapter-10": {"r": 4, "lora_alpha": 8, "use_dora": True},
}
ADAPTERS: tuple[str | None, ...] = (None, *SETTINGS)
SOME = [PROMPTS[1], [*HEAD, 5], [*HEAD, 5, 6], PROMPTS[3], PROMPTS[0], PROMPTS[7]]

pytestmark = pytest.mark.filterwarnings(
    "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning", "ignore:.*generates in padded batches"
)


def with_adapters(network: PreTrainedModel, std: float = 0.3) -> peft.PeftModel:
    """Under three adapters that do something, the first of which acts."""
    torch.manual_seed(0)
    adapted: Any = network
    for name, settings in SETTINGS.items():
        config = peft.LoraConfig(**{"target_modules": "all-linear", "task_type": "CAUSAL_LM", **settings})
        if isinstance(adapted, peft.PeftModel):
            adapted.add_adapter(name, config, autocast_adapter_dtype=False)
        else:
            adapted = peft.get_peft_model(adapted, config, adapter_name=name, autocast_adapter_dtype=False)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=std)
    result: peft.PeftModel = adapted.eval()
    return result


def odd() -> PreTrainedModel:
    return reference.tiny("bloom", n_layer=2, n_head=4)


NETWORKS = {
    "direct llama": fast,
    "direct qwen3": lambda: fast("qwen3"),
    "direct mistral": lambda: fast("mistral"),
    "by itself": lambda: reference.tiny("llama", **WIDTHS),
    "gemma2": lambda: reference.tiny("gemma2", head_dim=8, sliding_window=8, query_pre_attn_scalar=8),
    "padded": odd,
}


@pytest.fixture(scope="module", params=NETWORKS)
def adapted(request: pytest.FixtureRequest) -> peft.PeftModel:
    if request.param.startswith("direct") and native.library().handle is None:
        pytest.skip(native.library().reason)
    with pytest.warns(UserWarning, match="padded") if request.param == "padded" else nullcontext():
        network = NETWORKS[request.param]()
        assert bool(slot_parity.why_not_in_slots(network)) == (request.param == "padded")
    return with_adapters(network, std=1.5 if request.param == "padded" else 0.3)


@pytest.fixture
def mixed_steps(monkeypatch: pytest.MonkeyPatch) -> list[list[AdapterRows]]:
    """Whose rows were in each step that was taken directly."""
    seen: list[list[AdapterRows]] = []
    hidden = DirectStep.hidden

    def noted(self: DirectStep, *args: Any) -> torch.Tensor:
        seen.append(args[-1])
        return hidden(self, *args)

    monkeypatch.setattr(DirectStep, "hidden", noted)
    return seen


def ask(prompt: list[int], adapter: str | None, sample: int = 0, **settings: object) -> Request:
    config = GenerateConfig(**{"max_new_tokens": 8, **settings})
    return Request(prompt_ids=prompt, config=config, sample=sample, stop_ids=frozenset(), adapter=adapter)


def alone(adapted: peft.PeftModel, adapter: str | None, prompt: list[int], num_new: int) -> list[int]:
    """transformers' own generation under peft's own switch."""
    before = adapted.active_adapter
    if adapter is None:
        with adapted.disable_adapter():
            return by_transformers(adapted.get_base_model(), prompt, num_new)
    adapted.set_adapter(adapter, inference_mode=True)
    try:
        return by_transformers(adapted.get_base_model(), prompt, num_new)
    finally:
        adapted.set_adapter(before, inference_mode=True)


@pytest.mark.parametrize("batch_size", [3, 8])
def test_together_equals_alone(adapted: peft.PeftModel, batch_size: int, mixed_steps: list[list[AdapterRows]]) -> None:
    """All adapters in turn, entering one after the other, leaving after different numbers of tokens; one is taken back."""
    network = adapted.get_base_model()
    decoder = Decoder(network, context_length=128, batch_size=batch_size)
    asked = [(prompt, ADAPTERS[(i + j) % 4], 2 + (3 * i + j) % 9) for i, prompt in enumerate(SOME) for j in (0, 1)]
    news: list[NewToken] = []
    for prompt, adapter, num_new in asked:
        decoder.submit(ask(prompt, adapter, max_new_tokens=num_new))
        news += decoder.step()
    gone = decoder.submit(ask(SOME[0], "adapter-2"))
    news += decoder.step()
    assert decoder.cancel(gone)
    news += run(decoder)
    expected = [alone(adapted, adapter, prompt, num_new) for prompt, adapter, num_new in asked]
    assert [tokens(news, number) for number in range(len(asked))] == expected
    assert len({str([alone(adapted, adapter, prompt, 8) for prompt in SOME]) for adapter in ADAPTERS}) >= 3, "they differ"
    together = [{rows.adapter for rows in step} for step in mixed_steps]
    assert (max(map(len, together), default=0) > 1) == is_fast(network)
    assert not any("adapter-10" in adapters for adapters in together), "DoRA takes its own forward"


def is_fast(network: PreTrainedModel) -> bool:
    return any(hasattr(module, "fast_gate_up") for module in network.modules())


def test_log_probabilities_are_the_adapters_own(adapted: peft.PeftModel) -> None:
    network = adapted.get_base_model()
    decoder = Decoder(network, context_length=128, batch_size=8)
    asked = [(PROMPTS[2 + i], adapter) for i, adapter in enumerate(ADAPTERS)]
    for prompt, adapter in asked:
        decoder.submit(ask(prompt, adapter, logprobs=0, temperature=1.0, repetition_penalty=1.2))
    news = run(decoder)
    switch = AdapterSwitch(network)
    for number, (prompt, adapter) in enumerate(asked):
        own = [new for new in news if new.prompt == number]
        with torch.no_grad(), switch.to(adapter):
            ids = torch.tensor([[*prompt, *(new.token for new in own)]])
            rows = network(input_ids=ids).logits[0, len(prompt) - 1 : -1].log_softmax(-1)
        for new, row in zip(own, rows, strict=True):
            assert new.logprob is not None
            assert new.logprob.logprob == pytest.approx(float(row[new.token]), abs=1e-4)


@pytest.mark.parametrize("standing", ADAPTERS)
def test_whatever_acts_by_itself(adapted: peft.PeftModel, standing: str | None) -> None:
    """`generate` asks the network as it stands; requests by name do not care, and leave it so."""
    network = adapted.get_base_model()
    expected = {adapter: alone(adapted, adapter, SOME[3], 6) for adapter in ADAPTERS}
    if standing is not None:
        adapted.set_adapter(standing, inference_mode=True)
    with adapted.disable_adapter() if standing is None else nullcontext():
        assert list(complete(network, [SOME[3]], max_new_tokens=6)[0].token_ids) == expected[standing]
        decoder = Decoder(network, context_length=128, batch_size=2)
        numbers = {decoder.submit(ask(SOME[3], adapter, max_new_tokens=6)): adapter for adapter in ADAPTERS}
        news = run(decoder)
        assert {adapter: tokens(news, number) for number, adapter in numbers.items()} == expected
        assert by_transformers(network, SOME[3], 6) == expected[standing]
    adapted.set_adapter("adapter-1", inference_mode=True)


def test_prompts_that_enter_together_are_of_one_adapter() -> None:
    """And the first in line is never passed over."""
    decoder = Decoder(with_adapters(fast()).get_base_model(), context_length=128, batch_size=8)
    order = ["adapter-1", None, "adapter-1", "adapter-2", None]
    for number, adapter in enumerate(order):
        decoder.submit(ask([*HEAD, number], adapter, max_new_tokens=1))
    assert [{new.prompt for new in step} for step in iter(decoder.step, [])] == [{0, 2}, {1, 4}, {3}]


def test_each_request_stops_and_reads_its_own_way() -> None:
    network = with_adapters(fast()).get_base_model()
    own = by_transformers(network, SOME[0], 8)
    at = next(i for i in range(1, 8) if own[i] not in own[:i])
    decoder = Decoder(network, context_length=128)
    config = GenerateConfig(max_new_tokens=8)
    readers = [lambda ids: "".join(f"<{i}>" for i in ids), lambda ids: "".join(f"[{i}]" for i in ids)]
    for parse, stop_ids in itertools.product(readers, (frozenset(), frozenset({own[at]}))):
        request = Request(prompt_ids=SOME[0], config=config, stop_ids=stop_ids, adapter="adapter-1", parse=parse, with_text=True)
        decoder.submit(request)
    news = run(decoder)
    texts = ["".join(new.text for new in news if new.prompt == number) for number in range(4)]
    assert texts == [parse(ids) for parse in readers for ids in (own, own[:at])]


def test_adapters_on_other_layers() -> None:
    """One on all queries and values, one on the MLPs: groups of which only some layers have it, and groups without it."""
    more = {"attention": ["q_proj", "v_proj"], "mlp": ["gate_proj", "up_proj", "down_proj"]}
    torch.manual_seed(0)
    adapted: Any = None
    for name, targets in more.items():
        config = peft.LoraConfig(task_type="CAUSAL_LM", init_lora_weights=False, r=4, target_modules=targets)
        if adapted is None:
            adapted = peft.get_peft_model(fast(), config, adapter_name=name)
        else:
            adapted.add_adapter(name, config)
    adapted.eval()
    decoder = Decoder(adapted.get_base_model(), context_length=128)
    asked = [(prompt, adapter) for prompt in SOME[:3] for adapter in (None, *more)]
    for prompt, adapter in asked:
        decoder.submit(ask(prompt, adapter))
    news = run(decoder)
    for number, (prompt, adapter) in enumerate(asked):
        assert tokens(news, number) == alone(adapted, adapter, prompt, 8)


def test_who_is_not_there() -> None:
    decoder = Decoder(with_adapters(fast()).get_base_model(), context_length=128)
    with pytest.raises(ConfigError, match=r"the adapter 'nobody'; expected 'adapter-1', 'adapter-10', 'adapter-2'\."):
        decoder.submit(ask(SOME[0], "nobody"))
    assert decoder.is_idle
    with pytest.raises(ConfigError, match="none is loaded"):
        Decoder(fast(), context_length=128).submit(ask(SOME[0], "adapter-1"))


def test_rows_of_new_tokens_belong_to_everybody() -> None:
    """The embedding and the head of such a network are the adapter's too: it serves what acts, and refuses the rest."""
    network = reference.tiny("llama", tie_word_embeddings=True)
    adapted = reference.with_adapter(network)
    train_new_rows(adapted.get_base_model(), [7])
    decoder = Decoder(adapted.get_base_model().eval(), context_length=128)
    with pytest.raises(ConfigError, match="trained rows of tokens"):
        decoder.submit(ask(SOME[0], None))
    decoder.submit(ask(SOME[0], "default"))
    assert tokens(run(decoder), 0) == by_transformers(adapted.get_base_model(), SOME[0], 8)


@pytest.mark.parametrize("multiple", [1, 4])
@pytest.mark.parametrize("counts", [(1, 1), (3, 5, 1), (4, 4), (7, 1, 1, 3)])
def test_rows_of_a_step(counts: tuple[int, ...], multiple: int) -> None:
    num_rows = sum(counts) + -sum(counts) % multiple
    found = adapter_rows([(f"adapter-{i}", count) for i, count in enumerate(counts)], num_rows, multiple)
    numbers = torch.arange(num_rows)
    rows = [numbers[one.rows] for one in found]
    assert torch.cat(rows).tolist() == list(range(sum(counts)))
    for one, own in zip(found, rows, strict=True):
        computed = numbers[one.computed]
        assert computed[one.kept].tolist() == own.tolist()
        assert len(computed) % multiple == 0
    assert adapter_rows([(None, 3)], 4, 4) == [AdapterRows(None)]


@pytest.mark.parametrize("any_rows", [True, False])
def test_bfloat16_too(any_rows: bool, monkeypatch: pytest.MonkeyPatch, mixed_steps: list[list[AdapterRows]]) -> None:
    """Log-probabilities of several adapters' rows in one step, also where products want few numbers of rows."""
    if native.library().handle is None:
        pytest.skip(native.library().reason)
    network = with_adapters(fast().to(torch.bfloat16)).get_base_model()
    if not any_rows:
        monkeypatch.setattr("tunesmith.engine.packed_weights.pack_weight", lambda weight: None)
        monkeypatch.setattr("tunesmith.engine.generation.direct_step.pack_weight", lambda weight: None)
    asked = [(prompt, adapter) for adapter in (None, "adapter-1", "adapter-2") for prompt in SOME[:2]]

    def decoded(batch_size: int) -> list[list[NewToken]]:
        decoder = Decoder(network, context_length=128, batch_size=batch_size)
        for prompt, adapter in asked:
            decoder.submit(ask(prompt, adapter, logprobs=0, max_new_tokens=6))
        news = run(decoder)
        return [[new for new in news if new.prompt == number] for number in range(len(asked))]

    singly, together = decoded(1), decoded(6)
    assert max(map(len, mixed_steps)) == 3
    num_compared = 0
    for one, other in zip(singly, together, strict=True):
        for new, twin in zip(one, other, strict=True):
            if new.token != twin.token:
                break  # two tokens were as good as equally likely
            assert new.logprob is not None
            assert twin.logprob is not None
            assert twin.logprob.logprob == pytest.approx(new.logprob.logprob, abs=0.1)
            num_compared += 1
    assert num_compared > 6 * len(asked) / 2
