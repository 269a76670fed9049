"""Many texts at once have the ids that each has alone."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.samples import qa
from tunesmith.render.encoder import Encoder
from tunesmith.render.renderer import Renderer
from tunesmith.render.templates import ChatTemplate, Piece

TEXTS = st.lists(st.text() | st.sampled_from(["<|im_end|>", "a <|im_start|>user\n", " b", "\n"]), max_size=6)


@pytest.mark.parametrize("name", ["llama_tokenizer", "gemma_tokenizer", "metaspace_tokenizer"])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(texts=TEXTS, literal=st.booleans())
def test_together_as_alone(texts: list[str], literal: bool, name: str, request: pytest.FixtureRequest) -> None:
    tokenizer: Any = request.getfixturevalue(name)
    encoder = Encoder(tokenizer)
    alone = [encoder(text, literal=literal) for text in texts]
    alike = [tokenizer(text, add_special_tokens=False, split_special_tokens=literal).input_ids for text in texts]
    assert alone == alike, "the tokenizer itself gives others"
    with encoder.remembering(Piece(text=text, literal=literal) for text in texts):
        assert [encoder(text, literal=literal) for text in texts] == alone
        assert encoder("not among them", literal=literal) == Encoder(tokenizer)("not among them", literal=literal)


def test_what_is_remembered_is_not_encoded_again(chat: Renderer, monkeypatch: pytest.MonkeyPatch) -> None:
    example = qa("one", "two")
    before = chat.render(example)
    with chat.remembering([example]):
        monkeypatch.setattr(Encoder, "_encode", lambda *args: pytest.fail("encoded again"))
        monkeypatch.setattr(ChatTemplate, "prompt_pieces", lambda *args: pytest.fail("filled again"))
        assert chat.render(example) == before
        assert chat.prompt_ids(example.prompt_messages, example.fields) == before.token_ids[: before.supervised.index(True)]
    monkeypatch.undo()
    assert chat.render(example) == before
