"""Many texts at once have the ids that each has alone."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.samples import qa
from tunesmith.render.encoder import Encoder
from tunesmith.render.renderer import Renderer
from tunesmith.render.templates import Piece

TEXTS = st.lists(st.text() | st.sampled_from(["<|im_end|>", "a <|im_start|>user\n", " b", "\n"]), max_size=6)


@pytest.mark.parametrize("name", ["llama_tokenizer", "gemma_tokenizer", "metaspace_tokenizer"])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(texts=TEXTS, literal=st.booleans())
def test_together_as_alone(texts: list[str], literal: bool, name: str, request: pytest.FixtureRequest) -> None:
    tokenizer: Any = request.getfixturevalue(name)
    encoder = Encoder(tokenizer)
    alone = [encoder(text, literal=literal) for text in texts]
    with encoder.remembering(Piece(text=text, literal=literal) for text in texts):
        assert [encoder(text, literal=literal) for text in texts] == alone
        assert encoder("not among them", literal=literal) == Encoder(tokenizer)("not among them", literal=literal)


def test_what_is_remembered_is_not_encoded_again(chat: Renderer, monkeypatch: pytest.MonkeyPatch) -> None:
    example = qa("one", "two")
    before = chat.render(example)
    with chat.encoder.remembering(chat.pieces(example)):
        monkeypatch.setattr(Encoder, "_encode", lambda *args: pytest.fail("encoded again"))
        assert chat.render(example) == before
    monkeypatch.undo()
    assert chat.render(example) == before
