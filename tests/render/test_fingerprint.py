"""Equal fingerprints render equally; a stored record gives the same renderer again."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from tests.render.helpers import with_chat_template
from tests.samples import conversation, qa
from tunesmith.render.renderer import Renderer

EXAMPLE = conversation(("s", "Be kind."), ("u", "one <eos>"), ("a", "two"), ("u", "three"), ("a", "four"))


def fingerprint(tokenizer: Any, template: str = "auto", stop_ids: tuple[int, ...] = ()) -> str:
    return Renderer.for_model(tokenizer, template, stop_ids).fingerprint


def test_the_same_every_time(llama_tokenizer: Any, tiny_llama: Path) -> None:
    assert (
        fingerprint(llama_tokenizer)
        == fingerprint(AutoTokenizer.from_pretrained(tiny_llama))
        == fingerprint(copy.deepcopy(llama_tokenizer))
    )


def test_every_part_counts(llama_tokenizer: Any, gemma_tokenizer: Any, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("Q: {prompt}\n", encoding="utf-8")
    (tmp_path / "b").write_text("Q:  {prompt}\n", encoding="utf-8")
    grown, renamed = copy.deepcopy(llama_tokenizer), copy.deepcopy(llama_tokenizer)
    grown.add_tokens(["capital"])
    renamed.eos_token = "<|endoftext|>"
    seen = [
        fingerprint(llama_tokenizer, "chat"),
        fingerprint(llama_tokenizer, "qa"),
        fingerprint(llama_tokenizer, "alpaca"),
        fingerprint(llama_tokenizer, str(tmp_path / "a")),
        fingerprint(llama_tokenizer, str(tmp_path / "b")),
        fingerprint(gemma_tokenizer, "qa"),
        fingerprint(with_chat_template(llama_tokenizer, llama_tokenizer.chat_template + " "), "chat"),
        fingerprint(grown, "chat"),
        fingerprint(renamed, "chat"),
        fingerprint(llama_tokenizer, "chat", (7,)),
    ]
    assert len(set(seen)) == len(seen)


def test_what_a_call_leaves_behind_does_not_count(llama_tokenizer: Any) -> None:
    """Padding and truncation are kept inside the tokenizer, and some tokenizer files come with them."""
    padded = copy.deepcopy(llama_tokenizer)
    padded(["one", "one two three"], padding=True, truncation=True, max_length=2)
    asking = copy.deepcopy(llama_tokenizer)
    asking.backend_tokenizer.enable_truncation(4)
    asking.backend_tokenizer.enable_padding(length=12)
    assert fingerprint(padded) == fingerprint(asking) == fingerprint(llama_tokenizer)
    assert Renderer.for_model(asking, "auto").render(EXAMPLE) == Renderer.for_model(llama_tokenizer, "auto").render(EXAMPLE)


@pytest.mark.parametrize("name", ["chat", "qa", "alpaca", "file", "file called chat"])
def test_the_record_survives_json_and_the_users_template_file(llama_tokenizer: Any, tmp_path: Path, name: str) -> None:
    template = name
    if name.startswith("file"):
        file = tmp_path / ("chat" if "chat" in name else "mine.txt")
        file.write_text("<|im_start|>{prompt}\n", encoding="utf-8")
        template = str(file)
    renderer = Renderer.for_model(llama_tokenizer, template, (0,))
    record = json.loads(json.dumps(renderer.record()))
    if name.startswith("file"):
        Path(template).unlink()
    rebuilt = Renderer.from_record(llama_tokenizer, record)
    assert rebuilt.fingerprint == record["fingerprint"] == renderer.fingerprint
    assert rebuilt.stop_ids == renderer.stop_ids == {0, 2}
    assert rebuilt.render(EXAMPLE) == renderer.render(EXAMPLE)


def test_the_tokenizer_saved_with_a_model_keeps_the_fingerprint(llama_tokenizer: Any, gemma_tokenizer: Any, tmp_path: Path) -> None:
    for tokenizer, name in ((llama_tokenizer, "llama"), (gemma_tokenizer, "gemma")):
        tokenizer.save_pretrained(tmp_path / name)
        assert fingerprint(AutoTokenizer.from_pretrained(tmp_path / name)) == fingerprint(tokenizer)


def test_stop_ids(llama_tokenizer: Any, gemma_tokenizer: Any) -> None:
    assert Renderer.for_model(gemma_tokenizer, "qa", [1, 106]).stop_ids == {1, 106}
    ending_otherwise = with_chat_template(llama_tokenizer, llama_tokenizer.chat_template.replace("<|im_end|>", "<|endoftext|>"))
    renderer = Renderer.for_model(ending_otherwise, "chat")
    assert renderer.end_of_turn_id == 0
    assert renderer.stop_ids == {0, 2}
    assert renderer.parse([*renderer.render(qa("one", "two")).token_ids[-3:], 5, 6]) == "two"
