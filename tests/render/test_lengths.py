"""Lengths are those of the rendered examples, however they are rendered."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.samples import qa, raw
from tunesmith.render import chunks
from tunesmith.render.lengths import BINS, Histogram, measure_lengths
from tunesmith.render.renderer import Renderer


def test_of_every_kind(chat: Renderer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "CHUNK", 3)
    examples = [qa(f"what {'is ' * n}this?", "good", source=f"a:{n}") for n in (3, 80, 1, 5)]
    long_pair = dataclasses.replace(qa("why?", "so", source="p:1"), rejected="so " * 90)
    text = raw("one two " * 40)
    for group in ([*examples, text], [long_pair]):
        found = measure_lengths(group, chat, 60)
        rendered = [chunks.render_all(example, chat, 60) for example in group]
        assert found.tokens.tolist() == [max(len(one.token_ids) for one in sides) for sides in rendered]
        assert found.num_tokens == sum(len(one.token_ids) for sides in rendered for one in sides)
        assert found.num_supervised == sum(one.num_supervised for sides in rendered for one in sides)
    assert measure_lengths([text], chat, 60).num_windows == len(chunks.render_all(text, chat, 60)) > 1


@given(st.lists(st.integers(0, 5000), max_size=30))
def test_histogram(tokens: list[int]) -> None:
    histogram = Histogram.of(np.array(tokens, np.int64))
    assert sum(histogram.counts) == len(tokens)
    assert len(histogram.counts) <= BINS
    assert str(histogram.width).strip("0") in {"1", "2", "5"}
    for number, covered in enumerate(histogram.coverage):
        inside = sum(one <= (number + 1) * histogram.width for one in tokens)
        assert covered == pytest.approx(inside / max(1, len(tokens)))


def test_an_empty_split(chat: Renderer) -> None:
    found = measure_lengths([], chat, 60)
    assert (len(found.tokens), found.num_tokens, found.num_windows) == (0, 0, 0)
    assert Histogram.of(found.tokens).counts == ()
