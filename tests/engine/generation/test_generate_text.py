"""Text as it comes: whole characters, spaces where they belong, and an end before the first stop string."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from tests.tiny_models import build_metaspace_tokenizer
from tunesmith.config import GenerateConfig
from tunesmith.engine.generation.decoder import Decoder
from tunesmith.engine.generation.generate import decode, generate
from tunesmith.engine.generation.sequences import Request
from tunesmith.engine.generation.text_stream import TextStream
from tunesmith.engine.loading import LoadedModel

PROMPT = list(range(20, 30))


def bytes_as_tokens(ids: Sequence[int]) -> str:
    """A tokenizer whose tokens are bytes."""
    return bytes(ids).decode("utf-8", "replace")


def pieces(tokens: Sequence[int], parse: Callable[[Sequence[int]], str], stop: Sequence[str] = ()) -> list[str]:
    """One for each token until the stop string, and the rest."""
    stream = TextStream(parse, stop)
    found = []
    for token in tokens:
        found.append(stream.add(token))
        if stream.is_stopped:
            break
    return [*found, stream.end()]


def test_characters_are_held_back_until_they_are_whole() -> None:
    assert pieces("Tü€👍!".encode(), bytes_as_tokens) == ["T", "", "ü", "", "", "€", "", "", "", "👍", "!", ""]


def test_a_character_that_is_never_finished_comes_at_the_end() -> None:
    assert pieces("é".encode()[:1], bytes_as_tokens) == ["", "\ufffd"]
    assert "".join(pieces(b"a\xffb", bytes_as_tokens)) == "a\ufffdb"


def test_nothing_comes_of_nothing() -> None:
    assert pieces([], bytes_as_tokens) == [""]


@pytest.mark.parametrize("kind", ["byte level", "metaspace"])
def test_pieces_join_to_the_text_of_all_tokens(kind: str, tiny_llama: Path) -> None:
    """Metaspace tokenizers drop the first space of whatever they decode; pieces must not lose theirs."""
    tokenizer: Any = AutoTokenizer.from_pretrained(tiny_llama) if kind == "byte level" else build_metaspace_tokenizer()
    for text in ("What is the capital of France?", "  two  spaces\n\nand { a } : ##", "1 2 3"):
        ids = tokenizer(text, add_special_tokens=False).input_ids
        found = pieces(ids, lambda some: tokenizer.decode(list(some)))
        assert "".join(found) == tokenizer.decode(ids)
        assert sum(bool(piece) for piece in found) > 1


@pytest.mark.parametrize(
    ("text", "stop", "expected"),
    [
        ("one two", ("two",), ["o", "n", "e", " ", "", "", "", ""]),
        ("one tw", ("two",), ["o", "n", "e", " ", "", "", "tw"]),  # it never became one
        ("aab", ("ab",), ["", "a", "", ""]),
        ("ababac", ("abac",), ["", "", "", "ab", "", "", ""]),
        ("xyz", ("z", "yz"), ["x", "", "", ""]),  # the one that begins first
        ("€.", ("€",), ["", "", "", ""]),
        ("a\n\nb", ("\n\n",), ["a", "", "", ""]),
        ("abc", (), ["a", "b", "c", ""]),
    ],
)
def test_stop_strings_over_several_tokens(text: str, stop: tuple[str, ...], expected: list[str]) -> None:
    assert pieces(text.encode(), bytes_as_tokens, stop) == expected


def test_a_stop_string_within_a_token() -> None:
    words = ["Hello wor", "ld. And ", "more"]

    def parse(ids: Sequence[int]) -> str:
        return "".join(words[i] for i in ids)

    assert pieces([0, 1, 2], parse, ["ld. A"]) == ["Hello wor", "", ""]
    assert pieces([0, 1, 2], parse, [" wor"]) == ["Hello", ""]


class TestThroughTheModel:
    def settings(self, **more: object) -> GenerateConfig:
        return GenerateConfig(**{"max_new_tokens": 12, "temperature": 1.0, "batch_size": 3, **more})

    def limits(self) -> dict[str, Any]:
        return {"stop_ids": (), "context_length": 256, "parse": lambda ids: "".join(f"<{i}>" for i in ids)}

    def test_a_completion_ends_before_its_stop_string(self, loaded: LoadedModel) -> None:
        prompts = [PROMPT[:length] for length in (3, 5, 8, 10)]
        whole = generate(loaded.network, prompts, self.settings(), **self.limits())
        stop = "".join(f"<{i}>" for i in whole[1].token_ids[4:6])[1:-1]  # over two tokens, beginning within one
        cut = generate(loaded.network, prompts, self.settings(stop=[stop]), **self.limits())
        for one, before in zip(cut, whole, strict=True):
            assert one.text == before.text.split(stop)[0]
            if stop in before.text:
                assert one.finish_reason == "stop_string"
                assert one.token_ids == before.token_ids[: len(one.token_ids)]
                assert stop in "".join(f"<{i}>" for i in one.token_ids)
            else:
                assert one == before
        assert cut[1].finish_reason == "stop_string"
        assert len(cut[1].token_ids) <= 6

    def test_streamed_text_is_the_completions(self, loaded: LoadedModel) -> None:
        (whole,) = generate(loaded.network, [PROMPT], self.settings(), **self.limits())
        for stop in ((), (f"<{whole.token_ids[7]}>",)):
            config = self.settings(stop=stop)
            (completion,) = generate(loaded.network, [PROMPT], config, **self.limits())
            news = list(decode(loaded.network, {0: PROMPT}, config, with_text=True, **self.limits()))
            assert "".join(new.text for new in news) == completion.text
            assert news[-1].finish_reason == completion.finish_reason

    def test_the_end_of_turn_is_no_text_and_what_was_held_back_comes(self, loaded: LoadedModel) -> None:
        (whole,) = generate(loaded.network, [PROMPT], self.settings(), **self.limits())
        end = next(token for i, token in enumerate(whole.token_ids) if i >= 3 and token not in whole.token_ids[:i])
        at = whole.token_ids.index(end)
        limits = {**self.limits(), "stop_ids": [end]}
        config = self.settings(stop=[f"<{whole.token_ids[at - 1]}>never"])
        news = list(decode(loaded.network, {0: PROMPT}, config, with_text=True, **limits))
        assert news[-1].finish_reason == "end_of_turn"
        assert "".join(new.text for new in news) == "".join(f"<{i}>" for i in whole.token_ids[:at])

    def test_text_wants_a_tokenizer(self, loaded_llama: LoadedModel) -> None:
        decoder = Decoder(loaded_llama.network, context_length=256)
        with pytest.raises(TypeError, match="parse"):
            decoder.submit(Request(prompt_ids=PROMPT, config=GenerateConfig(stop=("x",)), stop_ids=frozenset()))
