"""Tokens kept for later runs are those that would be rendered, or are rendered anew."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.samples import qa, raw
from tunesmith.errors import AssetError, PreflightError
from tunesmith.render import chunks, token_cache
from tunesmith.render.preflight import Preflight, run_preflight
from tunesmith.render.renderer import Renderer
from tunesmith.render.token_cache import BEGUN_KEPT_SECONDS, ENTRIES_KEPT, TokenCache
from tunesmith.types import Example

CONVERSATIONS = [qa(f"what is {n}?", f"it is {'very ' * (n % 7)}good", source=f"a:{n}") for n in range(9)]


def pair(question: str, chosen: str, rejected: str, source: str = "p:1") -> Example:
    return dataclasses.replace(qa(question, chosen, source), rejected=rejected)


PAIRS = [pair(f"what is {n}?", f"good {n}", f"bad {n}", source=f"p:{n}") for n in range(5)]
TEXTS = [raw(f"one {'two ' * 30}{n}", source=f"t:{n}") for n in range(3)]


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "CHUNK", 4)


@pytest.fixture
def cache(tmp_path: Path) -> TokenCache:
    return TokenCache(tmp_path / "tokens", "content")


def run(examples: list[Example], renderer: Renderer, **options: Any) -> Preflight:
    return run_preflight(examples, renderer, **{"max_length": 60, "over_length": "refuse", **options})


def never(*args: Any, **kwargs: Any) -> Any:
    pytest.fail("rendered again")


@pytest.mark.parametrize("examples", [CONVERSATIONS, PAIRS, TEXTS], ids=["conversations", "pairs", "windows"])
def test_a_second_run_renders_nothing_and_has_the_same(
    examples: list[Example], chat: Renderer, cache: TokenCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, first = run(examples, chat), run(examples, chat, cache=cache)
    monkeypatch.setattr(Renderer, "render", never)
    second = run(examples, chat, cache=cache)
    assert (first.is_from_cache, second.is_from_cache) == (False, True)
    for other in (first, second):
        assert list(other.rendered) == list(plain.rendered)
        assert list(other.rejected) == list(plain.rejected)
        assert other.record() == plain.record()
    assert second.summary() == f"{plain.summary()}, as checked by an earlier run"


@pytest.mark.parametrize("over_length", ["drop", "cut"])
def test_what_was_left_out_or_cut_is_known_to_the_second_run(over_length: str, chat: Renderer, cache: TokenCache) -> None:
    examples = [*CONVERSATIONS, qa("why " * 60, "so", source="long:1")]
    first, second = (run(examples, chat, cache=cache, over_length=over_length) for _ in range(2))
    assert second.is_from_cache
    assert (second.dropped, second.cut) == (first.dropped, first.cut)
    assert second.record() == first.record()
    assert {"drop": second.dropped, "cut": second.cut}[over_length] == ("long:1",)
    assert list(first.rendered) == list(second.rendered)


def edited(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[0] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize("damage", [edited, Path.unlink, lambda file: file.write_bytes(b"")], ids=["edited", "gone", "cut"])
def test_a_damaged_entry_is_rendered_anew(damage: Callable[[Path], None], chat: Renderer, cache: TokenCache, tmp_path: Path) -> None:
    run(CONVERSATIONS, chat, cache=cache)
    (file,) = (tmp_path / "tokens").glob("*/0-token_ids.bin")
    damage(file)
    again = run(CONVERSATIONS, chat, cache=cache)
    assert not again.is_from_cache
    assert list(again.rendered) == list(run(CONVERSATIONS, chat).rendered)
    assert run(CONVERSATIONS, chat, cache=cache).is_from_cache


def test_an_entry_without_a_manifest_is_none(chat: Renderer, cache: TokenCache, tmp_path: Path) -> None:
    run(CONVERSATIONS, chat, cache=cache)
    (manifest,) = (tmp_path / "tokens").glob("*/manifest.json")
    manifest.write_text("{")
    assert not run(CONVERSATIONS, chat, cache=cache).is_from_cache
    assert run(CONVERSATIONS, chat, cache=cache).is_from_cache


def test_whatever_the_tokens_depend_on_has_its_own_entry(
    chat: Renderer, llama_tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def is_known(renderer: Renderer = chat, content: str = "content", **options: Any) -> bool:
        return run(CONVERSATIONS, renderer, cache=TokenCache(tmp_path / "tokens", content), **options).is_from_cache

    assert [is_known(), is_known()] == [False, True]
    other_template = dataclasses.replace(chat, template=Renderer.for_model(llama_tokenizer, "qa").template)
    assert not is_known(other_template)
    assert not is_known(content="another")
    assert not is_known(max_length=59)
    assert not is_known(over_length="cut")
    assert is_known()
    monkeypatch.setattr(token_cache, "code_of_this_room", lambda: "another version")
    assert not is_known()


def test_what_is_refused_is_not_kept(chat: Renderer, cache: TokenCache, tmp_path: Path) -> None:
    with pytest.raises(PreflightError):
        run([*CONVERSATIONS, qa("why " * 60, "so")], chat, cache=cache)
    assert list((tmp_path / "tokens").iterdir()) == []


def test_a_cache_that_cannot_be_written(chat: Renderer, tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text("a file")
    with pytest.raises(AssetError, match="the token cache cannot be written"):
        run(CONVERSATIONS, chat, cache=TokenCache(tmp_path / "tokens", "content"))


def test_the_oldest_entries_go(chat: Renderer, tmp_path: Path) -> None:
    for number in range(ENTRIES_KEPT + 2):
        run(CONVERSATIONS[:1], chat, cache=TokenCache(tmp_path / "tokens", str(number)))
    assert len(list((tmp_path / "tokens").iterdir())) == ENTRIES_KEPT
    assert run(CONVERSATIONS[:1], chat, cache=TokenCache(tmp_path / "tokens", str(ENTRIES_KEPT + 1))).is_from_cache


def test_what_killed_processes_left_goes_after_a_day(chat: Renderer, cache: TokenCache, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    for name, age in {"old": BEGUN_KEPT_SECONDS + 60, "new": 60}.items():
        for kind in (f".{name}.partial-123", f".{name}.ranks-0a1b"):
            (tokens / kind).mkdir(parents=True)
            (tokens / kind / "0-token_ids.bin").write_bytes(bytes(100))
            for path, seconds in ((tokens / kind / "0-token_ids.bin", age), (tokens / kind, 2 * BEGUN_KEPT_SECONDS)):
                os.utime(path, (time.time() - seconds,) * 2)
    run(CONVERSATIONS, chat, cache=cache)
    assert sorted(path.name for path in tokens.iterdir() if path.name.startswith(".")) == [".new.partial-123", ".new.ranks-0a1b"]


def test_two_runs_at_the_same_time(chat: Renderer, cache: TokenCache, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second one finds the entry there when it is done itself."""
    run(CONVERSATIONS, chat, cache=cache)
    real, asked = TokenCache.find, []

    def not_yet(self: TokenCache, *args: Any) -> Any:
        asked.append(args)
        return None if len(asked) == 1 else real(self, *args)

    monkeypatch.setattr(TokenCache, "find", not_yet)
    late = run(CONVERSATIONS, chat, cache=cache)
    assert len(asked) == 2
    assert list(late.rendered) == list(run(CONVERSATIONS, chat).rendered)


def test_chunks_whose_examples_are_all_left_out(chat: Renderer) -> None:
    too_long = [pair("why " * 60, f"good {n}", f"bad {n}") for n in range(5)]
    preflight = run([*too_long, *PAIRS], chat, over_length="drop")
    assert [one.example for one in preflight.rendered] == PAIRS
    assert len(preflight.dropped) == 5


@pytest.mark.slow
def test_several_processes_render_the_same(chat: Renderer) -> None:
    examples = [*CONVERSATIONS, *CONVERSATIONS]
    assert list(run(examples, chat, processes=2).rendered) == list(run(examples, chat, processes=1).rendered)


def test_the_manifest_is_json_that_people_can_read(chat: Renderer, cache: TokenCache, tmp_path: Path) -> None:
    run(CONVERSATIONS, chat, cache=cache)
    (manifest,) = (tmp_path / "tokens").glob("*/manifest.json")
    assert json.loads(manifest.read_text())["notes"] == {"dropped": [], "cut": []}
