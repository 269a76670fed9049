"""What a person is shown of an example."""

from __future__ import annotations

from typing import Any

from tests.samples import conversation, qa
from tunesmith.render import picture
from tunesmith.render.renderer import Renderer

EXAMPLE = conversation(("u", "one"), ("a", "zwölf"), ("u", "three"), ("a", "日本"))


def test_plain(llama_tokenizer: Any) -> None:
    renderer = Renderer.for_model(llama_tokenizer, "chat")
    assert picture.plain(renderer.render(EXAMPLE), renderer) == (
        "<|im_start|>system\nYou are helpful.<|im_end|>\n<|im_start|>user\none<|im_end|>\n<|im_start|>assistant\n⟦zwölf<|im_end|>⟧\n"
        "<|im_start|>user\nthree<|im_end|>\n<|im_start|>assistant\n⟦日本<|im_end|>⟧"
    )


def test_plain_shortens_from_the_middle(llama_tokenizer: Any) -> None:
    renderer = Renderer.for_model(llama_tokenizer, "chat")
    shown = picture.plain(renderer.render(qa("x" * 5000, "Paris.")), renderer, max_characters=200)
    assert shown.startswith("<|im_start|>system")
    assert shown.endswith("⟦Paris.<|im_end|>⟧")
    assert " characters …\n" in shown
    assert len(shown) < 250


def test_coloured_says_the_same(llama_tokenizer: Any) -> None:
    renderer = Renderer.for_model(llama_tokenizer, "chat")
    rendered = renderer.render(EXAMPLE)
    text = picture.coloured(rendered, renderer)
    assert text.plain == renderer.decode(rendered.token_ids)
    green = [text.plain[span.start : span.end] for span in text.spans if "green" in str(span.style)]
    assert green == ["zwölf<|im_end|>", "日本<|im_end|>"]
