"""Tokens as clients see them: joined they are the answer, and none is taken for another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, normalizers
from tokenizers import models as kinds
from transformers import PreTrainedTokenizerFast

from tunesmith.serve.answers import ChatCompletion, ChatCompletionChunk, TextCompletion
from tunesmith.serve.shapes import ChatShape, Choice, TextShape, usage_of
from tunesmith.serve.token_texts import TokenTexts
from tunesmith.together import ServedModel
from tunesmith.types import TokenLogprob

DECODERS: dict[str, Any] = {
    "llama 2": decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]),
    "metaspace": decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace()]),
    "gemma": decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]),
}
SMILE = "🙂"


def sentencepiece_like(decoder: str) -> Any:
    """Pieces with their space, single bytes for whatever has none."""
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *"▁theaA.", "th", "the", "▁the", "▁a"]
    merges = [("t", "h"), ("th", "e"), ("▁", "the"), ("▁", "a")]
    backend = Tokenizer(kinds.BPE({piece: place for place, piece in enumerate(pieces)}, merges, unk_token="<unk>", byte_fallback=True))
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    backend.decoder = DECODERS[decoder]
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>", bos_token="<s>", eos_token="</s>")


@pytest.fixture(params=list(DECODERS))
def pieces(request: pytest.FixtureRequest) -> Any:
    return sentencepiece_like(request.param)


def ids_of(tokenizer: Any, *pieces: str) -> list[int]:
    return [tokenizer.backend_tokenizer.token_to_id(piece) for piece in pieces]


def test_joined_they_are_the_answer(pieces: Any) -> None:
    text = f"the the a {SMILE}the.\n"
    ids = pieces.backend_tokenizer.encode(text, add_special_tokens=False).ids
    texts = TokenTexts(pieces)
    assert "".join(texts.of(token).text for token in ids[:3]) == " the the a"
    assert b"".join(bytes(texts.of(token).bytes or []) for token in ids).decode() == f" {text}"
    spaced, bare = (texts.of(token) for token in ids_of(pieces, "▁the", "the"))
    assert (spaced.name, bare.name) == (" the", "the")


def test_parts_of_a_character_are_told_apart(pieces: Any) -> None:
    texts = TokenTexts(pieces)
    parts = [texts.of(token) for token in ids_of(pieces, "<0xF0>", "<0x9F>")]
    assert [(part.text, part.name, part.bytes) for part in parts] == [
        (r"\xf0", r"bytes:\xf0", [0xF0]),
        (r"\x9f", r"bytes:\x9f", [0x9F]),
    ]
    names = [texts.of(token).name for token in range(259, len(pieces))]
    assert len(set(names)) == len(names)


def test_no_two_tokens_of_a_byte_level_tokenizer_are_alike(models: tuple[ServedModel, ...]) -> None:
    tokenizer = models[0].renderer.tokenizer
    texts = TokenTexts(tokenizer)
    names = [texts.of(token).name for token in range(len(tokenizer))]
    assert len(set(names)) == len(names)
    ids = models[0].renderer.text_prompt_ids(f"red {SMILE} and \ufffd")
    assert b"".join(bytes(texts.of(token).bytes or []) for token in ids).decode() == f"red {SMILE} and \ufffd"
    assert not any("\ufffd" in texts.of(token).text for token in ids), "each holds a part alone"


def found(tokenizer: Any, pieces: Sequence[str], logprob: float = -0.5) -> list[TokenLogprob]:
    return [TokenLogprob(token=token, logprob=logprob) for token in ids_of(tokenizer, *pieces)]


class TestCompletionsShape:
    def shape(self, model: ServedModel, tokenizer: Any) -> TextShape:
        return TextShape(model, TokenTexts(tokenizer), with_logprobs=True, with_usage=False)

    def test_likely_tokens_keep_their_values(self, models: tuple[ServedModel, ...], pieces: Any) -> None:
        spaced, bare, letter, byte = ids_of(pieces, "▁the", "the", "A", "<0x41>")
        made = [
            TokenLogprob(token=spaced, logprob=-0.7, top=((bare, -0.6), (spaced, -0.7))),
            TokenLogprob(token=byte, logprob=-3.0, top=((letter, -0.1), (byte, -3.0))),
            TokenLogprob(token=bare, logprob=-9.0, top=((letter, -0.1), (byte, -3.0))),
        ]
        logprobs = self.shape(models[0], pieces).piece(0, "", made, None)["choices"][0]["logprobs"]
        assert logprobs["top_logprobs"] == [{"the": -0.6, " the": -0.7}, {"A": -3.0}, {"A": -0.1, "the": -9.0}]

    def test_offsets_count_characters(self, models: tuple[ServedModel, ...], pieces: Any) -> None:
        shape = self.shape(models[0], pieces)
        first = shape.piece(0, "", found(pieces, ["▁the", "<0xF0>", "<0x9F>"]), None)["choices"][0]["logprobs"]
        second = shape.piece(0, "", found(pieces, ["<0x99>", "<0x82>", "▁a", "."]), None)["choices"][0]["logprobs"]
        assert first["text_offset"] + second["text_offset"] == [0, 4, 4, 4, 4, 5, 7]


def test_documents_are_by_their_models(models: tuple[ServedModel, ...], pieces: Any) -> None:
    choice = Choice(texts=["the"], logprobs=found(pieces, ["▁the", "<0xF0>"]), finish="length", num_tokens=2)
    texts, usage = TokenTexts(pieces), usage_of(3, [choice])
    for with_logprobs in (True, False):
        chat = ChatShape(models[0], texts, with_logprobs=with_logprobs, with_usage=False, streams=False)
        whole = chat.whole([choice], usage)
        assert ChatCompletion.model_validate(whole, strict=True, extra="forbid").model_dump() == whole
        events = ChatShape(models[0], texts, with_logprobs=with_logprobs, with_usage=True, streams=True)
        for event in (events.opening(0), events.piece(0, "the", choice.logprobs, "length"), events.last(usage)):
            ChatCompletionChunk.model_validate(event, strict=True, extra="forbid")
        text = TextShape(models[0], texts, with_logprobs=with_logprobs, with_usage=False)
        document = text.whole([choice], usage)
        assert TextCompletion.model_validate(document, strict=True, extra="forbid").model_dump() == document
