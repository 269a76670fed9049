"""Long raw texts in windows: every token is predicted once, nothing is lost, and the end is taught at the end alone."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.samples import qa, raw
from tunesmith.errors import PreflightError
from tunesmith.render.checks import find_fault_of_all
from tunesmith.render.chunks import render_all
from tunesmith.render.preflight import run_preflight
from tunesmith.render.renderer import Renderer
from tunesmith.types import RenderedExample

TEXT = "The quick brown fox jumps over the lazy dog. " * 6

quick = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(params=["llama", "gemma"])
def renderer(request: pytest.FixtureRequest, llama_tokenizer: Any, gemma_tokenizer: Any) -> Renderer:
    """Without and with a beginning-of-sequence token."""
    return Renderer.for_model(llama_tokenizer if request.param == "llama" else gemma_tokenizer, "auto")


def show_windows(renderer: Renderer, windows: tuple[RenderedExample, ...]) -> list[str]:
    """One line a window, supervised tokens in capitals."""
    return [
        " ".join(
            token.upper() if flag else token
            for token, flag in zip(renderer.tokenizer.convert_ids_to_tokens(list(one.token_ids)), one.supervised, strict=True)
        )
        for one in windows
    ]


def test_to_the_token(llama_tokenizer: Any, gemma_tokenizer: Any) -> None:
    """The window after the first begins with a token that only gives something to predict from."""
    plain = Renderer.for_model(llama_tokenizer, "auto")
    letters = raw("abcdefghijklm")
    assert show_windows(plain, render_all(letters, plain, 8)) == ["A B C D E F G H", "h I J K L M <|IM_END|>"]
    with_bos = Renderer.for_model(gemma_tokenizer, "auto")
    assert show_windows(with_bos, render_all(letters, with_bos, 8)) == ["<bos> A B C D E F G", "<bos> g H I J K L M", "<bos> m <EOS>"]


def test_what_fits_is_one_window(renderer: Renderer) -> None:
    whole = renderer.render(raw(TEXT))
    assert render_all(raw(TEXT), renderer, len(whole.token_ids)) == (whole,)
    assert len(render_all(raw(TEXT), renderer, len(whole.token_ids) - 1)) == 2


@quick
@given(
    text=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=120),
    max_length=st.integers(8, 40),
    unfinished=st.booleans(),
)
def test_every_token_is_predicted_once(renderer: Renderer, text: str, max_length: int, unfinished: bool) -> None:
    example = dataclasses.replace(raw(text), unfinished=unfinished)
    whole = renderer.render(example)
    windows = render_all(example, renderer, max_length)
    predicted = [token for one in windows for token, flag in list(zip(one.token_ids, one.supervised, strict=True))[1:] if flag]
    assert predicted == list(whole.token_ids[1:])
    assert [(one.window, one.num_windows) for one in windows] == [(i, len(windows)) for i in range(len(windows))]
    assert all(one.example is example for one in windows)
    assert all(len(one.token_ids) == max_length for one in windows[:-1])
    assert 2 <= len(windows[-1].token_ids) <= max_length or len(windows) == 1
    ends = [renderer.end_of_turn_id in one.token_ids for one in windows]
    assert ends == [False] * (len(windows) - 1) + [not unfinished]
    if len(whole.token_ids) > 1:
        assert find_fault_of_all(windows, renderer, max_length) is None


@pytest.mark.parametrize("over_length", ["refuse", "drop", "cut"])
def test_preflight_keeps_all_of_a_long_text(renderer: Renderer, over_length: Any) -> None:
    examples = [raw(TEXT, "a.txt:1"), raw("one two", "b.txt:1"), raw(TEXT + TEXT, "c.txt:1")]
    preflight = run_preflight(examples, renderer, max_length=20, over_length=over_length)
    sources = [one.example.source for one in preflight.rendered]
    assert sources == sorted(sources)
    assert set(sources) == {"a.txt:1", "b.txt:1", "c.txt:1"}
    assert sources.count("b.txt:1") == 1
    num_windows = len(preflight.rendered)
    assert preflight.summary().startswith(f"3 documents in {num_windows} windows of up to 20 tokens: {preflight.num_tokens} tokens, ")
    record = preflight.record()
    assert (record["num_examples"], record["num_windows"], record["longest"], record["dropped"]) == (3, num_windows, 20, [])


def test_without_a_long_text_nothing_is_said_of_windows(renderer: Renderer) -> None:
    preflight = run_preflight([raw("one two")], renderer, max_length=20, over_length="refuse")
    assert preflight.summary().startswith("kept 1 of 1 examples: ")
    assert preflight.record()["num_windows"] is None


def test_a_passage_of_a_longer_text_does_not_teach_to_stop(renderer: Renderer) -> None:
    passage = dataclasses.replace(raw("one two"), unfinished=True)
    assert renderer.render(passage).token_ids == renderer.render(raw("one two")).token_ids[:-1]
    assert run_preflight([passage], renderer, max_length=20, over_length="refuse").num_examples == 1


class TestFaults:
    def windows(self, renderer: Renderer) -> list[RenderedExample]:
        return list(render_all(raw(TEXT), renderer, 20))

    def fault(self, windows: list[RenderedExample], renderer: Renderer) -> str | None:
        found = find_fault_of_all(windows, renderer, 20)
        return found[1] if found else None

    def test_a_window_left_out(self, renderer: Renderer) -> None:
        windows = self.windows(renderer)
        assert self.fault(windows, renderer) is None
        assert self.fault([windows[0], *windows[2:]], renderer) == "window 3 does not go on where the one before ends"

    def test_a_token_trained_twice(self, renderer: Renderer) -> None:
        windows = self.windows(renderer)
        first = windows[1].supervised.index(True)
        flags = list(windows[1].supervised)
        flags[first - 1] = True
        windows[1] = dataclasses.replace(windows[1], supervised=tuple(flags))
        assert self.fault(windows, renderer) is not None

    def test_a_token_not_trained(self, renderer: Renderer) -> None:
        windows = self.windows(renderer)
        windows[2] = dataclasses.replace(windows[2], supervised=(*windows[2].supervised[:-1], False))
        assert "what would be trained is not its answer" in str(self.fault(windows, renderer))

    def test_no_end(self, renderer: Renderer) -> None:
        windows = self.windows(renderer)
        last = windows[-1]
        windows[-1] = dataclasses.replace(last, token_ids=last.token_ids[:-1], supervised=last.supervised[:-1])
        assert "the model would never learn to stop" in str(self.fault(windows, renderer))

    def test_too_long(self, renderer: Renderer) -> None:
        found = find_fault_of_all(self.windows(renderer), renderer, 19)
        assert found is not None
        assert found[1] == "20 tokens, over 19"


def test_conversations_are_never_cut_into_windows(llama_tokenizer: Any) -> None:
    with pytest.raises(PreflightError, match="examples are too long"):
        run_preflight([qa(TEXT, "two")], Renderer.for_model(llama_tokenizer, "chat"), max_length=40, over_length="refuse")
