"""Our model class for lm-evaluation-harness gives the scores of its Hugging Face backend."""

from __future__ import annotations

import importlib.util
import logging
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.tiny_models import SENTENCES
from tunesmith.engine.loading import LoadedModel, load_model
from tunesmith.errors import ConfigError, DataError

pytest.importorskip("lm_eval", reason="the extra tunesmith[bench] is not installed")

from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM

from tunesmith.evaluate.benchmarks import harness
from tunesmith.evaluate.benchmarks.harness import TunesmithLM, generate_config

LONG_TEXT = " ".join(SENTENCES * 6)  # longer than the tiny models' context
PASSAGE = SENTENCES[2] + " " + SENTENCES[1]
PAIRS = [
    *((PASSAGE + "\nAnswer:", ending) for ending in (" A", " B", " Paris is the capital.", " one two three", "\n")),
    *((PASSAGE + f" Question {i}?\nAnswer:", f" {letter}") for i in range(3) for letter in "ABCD"),
    ("What is the capital of France? ", "Paris"),  # the space belongs to the continuation
    ("What is the capital of France?  ", " Paris"),
    ("", "The quick brown fox"),
    ("", "x"),
    (LONG_TEXT, " The end."),
    (LONG_TEXT + " One more.", " The end."),
    ("Non-ASCII: žluťoučký kůň 中国", " — привет"),
    ("<bos>", " starts with a special token"),
    ("<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n", "Hello<|im_end|>"),
]
TEXTS = ["x", "The quick brown fox jumps over the lazy dog.", LONG_TEXT, LONG_TEXT * 2, "中国"]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module", params=["llama", "gemma"])
def loaded(request: pytest.FixtureRequest) -> LoadedModel:
    directory: Path = request.getfixturevalue(f"tiny_{request.param}")
    return load_model(directory, dtype=torch.float32, device=torch.device("cpu"))


def instances(kind: str, arguments: list[tuple[Any, ...]]) -> list[Instance]:
    return [Instance(request_type=kind, doc={}, arguments=one, idx=i) for i, one in enumerate(arguments)]


def both(loaded: LoadedModel, *, batch_size: int = 4, **settings: Any) -> tuple[TunesmithLM, HFLM]:
    """Ours and theirs around one network; theirs reads the tokenizer from the folder, as for a user."""
    theirs = HFLM(pretrained=str(loaded.directory), dtype="float32", device="cpu", batch_size=batch_size, **settings)
    return TunesmithLM(loaded.network, loaded.tokenizer, **settings), theirs


@pytest.mark.parametrize(
    "settings", [{}, {"add_bos_token": True}, {"add_bos_token": False}, {"max_length": 40, "prefix_token_id": 7}], ids=str
)
def test_log_likelihoods(loaded: LoadedModel, settings: dict[str, Any]) -> None:
    ours, theirs = both(loaded, **settings)
    requests = instances("loglikelihood", PAIRS)
    found, expected = ours.loglikelihood(requests, disable_tqdm=True), theirs.loglikelihood(requests, disable_tqdm=True)
    for pair, one, other in zip(PAIRS, found, expected, strict=True):
        assert one[0] == pytest.approx(other[0], abs=1e-3), pair
        assert one[1] == other[1], pair


@pytest.mark.parametrize("settings", [{}, {"max_length": 40}, {"add_bos_token": False}], ids=str)
def test_rolling_log_likelihoods(loaded: LoadedModel, settings: dict[str, Any]) -> None:
    ours, theirs = both(loaded, **settings)
    requests = instances("loglikelihood_rolling", [(text,) for text in TEXTS])
    found = ours.loglikelihood_rolling(requests, disable_tqdm=True)
    assert found == pytest.approx(theirs.loglikelihood_rolling(requests, disable_tqdm=True), abs=1e-3)


@pytest.mark.parametrize("batch_size", [1, 4])
def test_generation(loaded: LoadedModel, batch_size: int) -> None:
    ours, theirs = both(loaded, batch_size=batch_size)
    free = {"max_gen_toks": 12}
    contexts = [SENTENCES[1], "red green", PASSAGE, LONG_TEXT]
    unstopped = ours.generate_until(instances("generate_until", [(context, free) for context in contexts]), disable_tqdm=True)
    stops = [text[3:6] for text in unstopped if len(text) > 6]
    assert stops
    stopped = {"until": [*stops, "\n\n"], "max_gen_toks": 12, "do_sample": False}
    sampled_in_name_only = {"until": "zzz", "max_gen_toks": 5, "do_sample": False, "temperature": 0.0, "top_p": 0.9}
    requests = instances("generate_until", [(c, arguments) for c in contexts for arguments in (free, stopped, sampled_in_name_only)])
    found = ours.generate_until(requests, disable_tqdm=True)
    assert found == theirs.generate_until(requests, disable_tqdm=True)
    assert found[::3] == unstopped
    assert not any(stop in text for text in found[1::3] for stop in stops)


def test_names_limits_and_special_tokens(loaded: LoadedModel) -> None:
    ours, theirs = both(loaded)
    for name in ("eot_token_id", "prefix_token_id", "max_length", "max_gen_toks", "tokenizer_name", "rank", "world_size"):
        assert getattr(ours, name) == getattr(theirs, name), name
    for text in ("Hello", "<bos>Hello", "<|im_start|>Hello", ""):
        for special in (None, True, False):
            assert ours.tok_encode(text, add_special_tokens=special) == theirs.tok_encode(text, add_special_tokens=special)
    assert ours.tok_encode(LONG_TEXT, left_truncate_len=5) == theirs.tok_encode(LONG_TEXT, left_truncate_len=5)


def test_what_is_cut_is_counted_and_said(loaded: LoadedModel, caplog: pytest.LogCaptureFixture) -> None:
    ours = TunesmithLM(loaded.network, loaded.tokenizer, max_length=30)
    length = len(ours.tok_encode(LONG_TEXT + " The end."))
    with caplog.at_level(logging.WARNING):
        ours.loglikelihood(instances("loglikelihood", [(LONG_TEXT, " The end."), ("Short", " enough")]), disable_tqdm=True)
    assert f"1 of 2 requests are longer than 30 tokens: {length - 31:,} tokens" in caplog.text
    with pytest.raises(ConfigError, match="max_gen_toks: 30"):
        ours.generate_until(instances("generate_until", [("x", {"max_gen_toks": 30})]), disable_tqdm=True)


def test_the_chat_template(tiny_llama: Path, tiny_gemma: Path) -> None:
    loaded = load_model(tiny_llama, dtype=torch.float32, device=torch.device("cpu"))
    ours, theirs = both(loaded)
    history = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    for open_end in (True, False):
        assert ours.apply_chat_template(history, open_end) == theirs.apply_chat_template(history, open_end)
    assert ours.chat_template(True) == theirs.chat_template(True) == loaded.tokenizer.chat_template
    base = load_model(tiny_gemma, dtype=torch.float32, device=torch.device("cpu"))
    with pytest.raises(ConfigError, match="has no chat template"):
        TunesmithLM(base.network, base.tokenizer).apply_chat_template(history)


def test_a_prompt_of_no_tokens_is_refused(tiny_llama: Path) -> None:
    loaded = load_model(tiny_llama, dtype=torch.float32, device=torch.device("cpu"))
    with pytest.raises(DataError, match="prompts: 1 without a token"):
        TunesmithLM(loaded.network, loaded.tokenizer).generate_until(
            instances("generate_until", [("", {"max_gen_toks": 3})]), disable_tqdm=True
        )


def test_generation_arguments() -> None:
    def settings(**arguments: Any) -> dict[str, Any]:
        config = generate_config(arguments, max_gen_toks=256, batch_size=8)
        return config.model_dump(exclude_defaults=True)

    assert settings(until=["\n", "", "\n"]) == {"stop": ("\n",), "batch_size": 8}
    assert settings(until="Q:", max_gen_toks=5, do_sample=False, top_p=0.5) == {"stop": ("Q:",), "max_new_tokens": 5, "batch_size": 8}
    assert settings(do_sample=True, temperature=0.7, top_k=0, top_p=0.5) == {"temperature": 0.7, "top_p": 0.5, "batch_size": 8}
    assert settings(repetition_penalty=1.2) == {"repetition_penalty": 1.2, "batch_size": 8}
    with pytest.raises(ConfigError, match="num_beams"):
        settings(num_beams=4)
    with pytest.raises(ConfigError, match="do_sample without a temperature"):
        settings(do_sample=True)


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "lm_eval.api.model", None)
    spec = importlib.util.spec_from_file_location("harness_without_extra", harness.__file__)
    assert spec is not None
    assert spec.loader is not None
    with pytest.raises(ConfigError, match=r"pip install 'tunesmith\[bench\]'"):
        spec.loader.exec_module(importlib.util.module_from_spec(spec))


SMOLLM2 = Path(os.environ.get("TUNESMITH_CACHE", Path.home() / ".cache" / "tunesmith")) / "models"
TASKS = {
    "hellaswag": "group: local\ntask:\n  - task: hellaswag\n    dataset_path: {data}/hellaswag\n    training_split: null\n",
    "mmlu_anatomy": "group: local\ntask:\n  - task: mmlu_anatomy\n    dataset_path: {data}/mmlu\n",
}


@pytest.mark.slow
@pytest.mark.parametrize(("task", "limit", "shots"), [("hellaswag", 10, 0), ("mmlu_anatomy", 5, 5)])
def test_a_real_task(shared_data: Path, tmp_path: Path, task: str, limit: int, shots: int) -> None:
    import lm_eval
    from lm_eval.tasks import TaskManager

    directory = next(iter(sorted(SMOLLM2.glob("smollm2-135m-instruct-*"))), None)
    if directory is None:
        pytest.skip("smollm2-135m-instruct is not in the cache")
    (tmp_path / "local.yaml").write_text(TASKS[task].format(data=shared_data / "eval"), encoding="utf-8")
    results = [
        lm_eval.simple_evaluate(
            model=model,
            tasks=["local"],
            task_manager=TaskManager(include_path=str(tmp_path)),
            num_fewshot=shots,
            limit=limit,
            bootstrap_iters=0,
        )
        for model in both(load_model(directory, dtype=torch.float32, device=torch.device("cpu")), batch_size=4)
    ]
    ours, theirs = (result["samples"][task] for result in results)
    assert len(ours) == limit
    for one, other in zip(ours, theirs, strict=True):
        assert one["arguments"] == other["arguments"]
        for [(nats, is_greedy)], [(their_nats, their_greedy)] in zip(one["resps"], other["resps"], strict=True):
            assert nats == pytest.approx(their_nats, abs=1e-3)
            assert is_greedy == their_greedy
    assert results[0]["results"][task] == results[1]["results"][task]
