"""Tokenizers as llama.cpp keeps them."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from tests.tiny_models import SENTENCES
from tunesmith.errors import ConfigError
from tunesmith.export.gguf_file.vocabulary import REGEXES, read_vocabulary, unlike_llama_cpp
from tunesmith.render.renderer import Renderer


def renderer_with(tiny_llama: Path, **parts: Any) -> Renderer:
    tokenizer = AutoTokenizer.from_pretrained(tiny_llama)
    for name, part in parts.items():
        setattr(tokenizer.backend_tokenizer, name, part)
    return Renderer.for_model(tokenizer, "auto")


def sentence_piece(**settings: Any) -> Renderer:
    """In the form of Gemma's tokenizer file: bytes to fall back on, spaces replaced, no cuts."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))
    tokenizer.normalizer = settings.get("normalizer", normalizers.Replace(" ", "\u2581"))
    byte_tokens = [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=700, special_tokens=["<pad>", "<eos>", "<bos>", "<unk>"], show_progress=False)
    tokenizer.train_from_iterator(SENTENCES, trainer)
    parts = json.loads(tokenizer.to_str())
    for byte in byte_tokens:
        parts["model"]["vocab"][byte] = len(parts["model"]["vocab"])
    tokenizer = Tokenizer.from_str(json.dumps(parts))
    tokenizer.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<bos>", eos_token="<eos>", pad_token="<pad>", unk_token="<unk>")
    return Renderer.for_model(fast, "qa")


def test_byte_level(tiny_llama: Path) -> None:
    renderer = renderer_with(tiny_llama)
    found = read_vocabulary(renderer, len(renderer.tokenizer) + 2)
    assert (found.model, found.pre) == ("gpt2", "gpt-2")
    merges = json.loads(renderer.tokenizer.backend_tokenizer.to_str())["model"]["merges"]
    assert found.merges == tuple(" ".join(merge) for merge in merges)
    assert found.tokens[:3] == ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
    assert found.tokens[-2:] == (f"[PAD{len(renderer.tokenizer)}]", f"[PAD{len(renderer.tokenizer) + 1}]")
    assert (found.types[:3], found.types[-3:]) == ((3, 3, 3), (1, 5, 5))  # control; normal; unused


def test_new_tokens_are_found_wherever_they_stand(tiny_llama: Path) -> None:
    renderer = renderer_with(tiny_llama)
    renderer.tokenizer.add_tokens(["<tool>"])
    found = read_vocabulary(renderer, len(renderer.tokenizer))
    assert (found.tokens[-1], found.types[-1]) == ("<tool>", 4)  # user-defined


def test_first_cuts_by_name(tiny_llama: Path) -> None:
    level = pre_tokenizers.ByteLevel(add_prefix_space=False)
    digits = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), level])
    assert read_vocabulary(renderer_with(tiny_llama, pre_tokenizer=digits), 500).pre == "smollm"
    bare = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    regex = next(regex for regex, name in REGEXES.items() if name == "qwen2")
    cuts = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(regex), "isolated"), bare])
    composing = renderer_with(tiny_llama, pre_tokenizer=cuts, normalizer=normalizers.NFC())
    assert read_vocabulary(composing, 500).pre == "qwen2"
    assert "Unicode's NFC" in unlike_llama_cpp(composing)[0]
    assert unlike_llama_cpp(renderer_with(tiny_llama)) == ()


@pytest.mark.parametrize(
    ("parts", "found"),
    [
        ({"normalizer": normalizers.Lowercase()}, "the normaliser Lowercase"),
        ({"pre_tokenizer": pre_tokenizers.Whitespace()}, "first cuts by Whitespace"),
        (
            {
                "pre_tokenizer": pre_tokenizers.Sequence(
                    [pre_tokenizers.Split(Regex(r"\d"), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
                )
            },
            "llama.cpp has no name for",
        ),
    ],
)
def test_what_llama_cpp_would_split_otherwise_is_refused(parts: dict[str, Any], found: str, tiny_llama: Path) -> None:
    with pytest.raises(ConfigError, match=found):
        read_vocabulary(renderer_with(tiny_llama, **parts), 500)


def test_too_few_rows_are_refused(tiny_llama: Path) -> None:
    with pytest.raises(ConfigError, match="token ids up to"):
        read_vocabulary(renderer_with(tiny_llama), 100)


def merged_by_score(text: str, scores: dict[str, float]) -> list[str]:
    """SentencePiece's way, as llama.cpp's: join the two neighbours whose union scores best, the first of equals, until none is a token."""
    pieces = list(text)
    while True:
        joined = [(scores[a + b], -place) for place, (a, b) in enumerate(pairwise(pieces)) if a + b in scores]
        if not joined:
            return pieces
        place = -max(joined)[1]
        pieces[place : place + 2] = [pieces[place] + pieces[place + 1]]


def test_scores_give_the_tokens_of_merges() -> None:
    renderer = sentence_piece()
    found = read_vocabulary(renderer, len(renderer.tokenizer))
    assert (found.model, found.adds_space) == ("llama", False)
    assert [found.types[found.tokens.index(token)] for token in ("<pad>", "<unk>", "<0x0A>", "e")] == [3, 2, 6, 1]
    scores = {
        token: score for token, score, kind in zip(found.tokens, found.scores, found.types, strict=True) if kind == 1 and len(token) > 1
    }
    for text in ("What is the capital?", "an instruction that describes a task", "jumps over the lazy dog  twice"):
        ids = renderer.tokenizer(text, add_special_tokens=False).input_ids
        assert merged_by_score(text.replace(" ", "\u2581"), scores) == renderer.tokenizer.convert_ids_to_tokens(ids)


def test_a_space_in_front_is_told() -> None:
    prepended = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    assert read_vocabulary(sentence_piece(normalizer=prepended), 2000).adds_space is True
