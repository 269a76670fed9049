"""Ranks that share the preflight have what one process has, to the byte, and refuse what it refuses."""

from __future__ import annotations

import dataclasses
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from tests.fake_group import in_ranks
from tests.ranks import run_ranks
from tests.samples import qa, raw
from tunesmith.config import TrainConfig
from tunesmith.distributed.group import Group, joined
from tunesmith.errors import AssetError, DataError, GroupError, PreflightError, TunesmithError
from tunesmith.render import chunks
from tunesmith.render.by_ranks import share_of
from tunesmith.render.preflight import Preflight, run_preflight
from tunesmith.render.renderer import Renderer
from tunesmith.render.token_cache import TokenCache
from tunesmith.train.plan import plan_steps
from tunesmith.types import Example

CONVERSATIONS = [qa(f"what is {n}?", f"it is {'very ' * (n % 7)}good", source=f"faq/part-{n // 5}.jsonl:{n % 5 + 1}") for n in range(23)]
PAIRS = [dataclasses.replace(qa(f"what is {n}?", f"good {n}", source=f"p:{n}"), rejected=f"bad {n}") for n in range(13)]
TEXTS = [raw(f"one {'two ' * 30}{n}", source=f"t:{n}") for n in range(9)]
TOO_LONG = qa("why " * 60, "so", source="faq/part-9.jsonl:7")


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "CHUNK", 4)


def run(examples: Sequence[Example], renderer: Renderer, folder: Path, group: Group, **options: Any) -> Preflight:
    renderer = pickle.loads(pickle.dumps(renderer))  # each process has its own
    cache = TokenCache(folder, "content")
    return run_preflight(examples, renderer, **{"max_length": 60, "over_length": "refuse", "cache": cache, "group": group, **options})


def other_tokenizer(renderer: Renderer, rank: int) -> Renderer:
    """A renderer like it, whose tokenizer has learnt a word on one rank."""
    renderer = pickle.loads(pickle.dumps(renderer))
    if rank == 1:
        renderer.tokenizer.add_tokens(["very"])
    return dataclasses.replace(renderer)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.parametrize("size", [2, 3, 7])
@pytest.mark.parametrize("examples", [CONVERSATIONS, PAIRS, TEXTS], ids=["conversations", "pairs", "windows"])
def test_the_entry_is_that_of_one_process_to_the_byte(examples: list[Example], size: int, chat: Renderer, tmp_path: Path) -> None:
    alone = run(examples, chat, tmp_path / "alone", Group())
    found = in_ranks(size, lambda group: run(examples, chat, tmp_path / "ranks", group))
    assert contents(tmp_path / "ranks") == contents(tmp_path / "alone")
    config = TrainConfig(model="", data=Path(), epochs=2, examples_per_step=4)
    steps = plan_steps(alone.rendered.lengths.tolist(), config)
    for one in found:
        assert isinstance(one, Preflight)
        assert list(one.rendered) == list(alone.rendered)
        assert list(one.rejected) == list(alone.rejected)
        assert (one.record(), one.summary()) == (alone.record(), alone.summary())
        assert plan_steps(one.rendered.lengths.tolist(), config) == steps  # so whoever resumes at step n goes on with the same


def test_a_later_run_renders_nothing_whatever_the_number_of_ranks(chat: Renderer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_ranks(2, lambda group: run(CONVERSATIONS, chat, tmp_path, group))
    monkeypatch.setattr(Renderer, "render", lambda *_: pytest.fail("rendered again"))
    for size in (1, 3):
        for one in in_ranks(size, lambda group: run(CONVERSATIONS, chat, tmp_path, group)):
            assert isinstance(one, Preflight)
            assert one.is_from_cache


@pytest.mark.parametrize("over_length", ["drop", "cut"])
def test_what_was_left_out_or_cut_is_that_of_the_whole(over_length: str, chat: Renderer, tmp_path: Path) -> None:
    examples = [TOO_LONG, *CONVERSATIONS, TOO_LONG]
    alone = run(examples, chat, tmp_path / "alone", Group(), over_length=over_length)
    for one in in_ranks(3, lambda group: run(examples, chat, tmp_path / "ranks", group, over_length=over_length)):
        assert isinstance(one, Preflight)
        assert (one.dropped, one.cut) == (alone.dropped, alone.cut)
        assert list(one.rendered) == list(alone.rendered)


def unanswered(number: int) -> Example:
    return qa("why?", "", source=f"faq/part-1.jsonl:{number}")


REFUSED = {
    "too long": [*CONVERSATIONS, TOO_LONG, *CONVERSATIONS],
    "pairs among others": [*PAIRS, *CONVERSATIONS],
    "a pair within a share": [*CONVERSATIONS, *PAIRS[:2], *CONVERSATIONS],
    "faults": [*CONVERSATIONS[:9], unanswered(3), *CONVERSATIONS, unanswered(5)],
    "nothing": [],
}


@pytest.mark.parametrize("examples", REFUSED.values(), ids=REFUSED.keys())
@pytest.mark.parametrize("size", [2, 3])
def test_what_is_refused_is_refused_with_the_same_words_on_every_rank(
    examples: list[Example], size: int, chat: Renderer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Renderer.render

    def without_end(self: Renderer, example: Example) -> Any:
        rendered = plain(self, example)
        return (
            rendered
            if example.reference
            else dataclasses.replace(rendered, token_ids=rendered.token_ids[:-1], supervised=rendered.supervised[:-1])
        )

    monkeypatch.setattr(Renderer, "render", without_end)
    with pytest.raises((PreflightError, DataError)) as alone:
        run(examples, chat, tmp_path / "alone", Group())
    for error in in_ranks(size, lambda group: run(examples, chat, tmp_path / "ranks", group)):
        assert isinstance(error, TunesmithError)
        assert (type(error), str(error)) == (type(alone.value), str(alone.value))
    assert contents(tmp_path / "ranks") == {}
    assert list((tmp_path / "ranks").iterdir()) == []


class Watched(Sequence[Example]):
    """Examples of which is known who read them."""

    def __init__(self, examples: Sequence[Example], numbers: Sequence[int], read: set[int], broken: int | None = None) -> None:
        self._examples, self._numbers, self._read, self._broken = examples, numbers, read, broken

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return Watched(self._examples, self._numbers[index], self._read, self._broken)
        number = self._numbers[index]
        self._read.add(number)
        if number == self._broken:
            raise DataError(self._examples[number].source, "it was changed", expected="as it was", remedy="prepare again")
        return self._examples[number]


def test_each_rank_reads_and_renders_its_share_alone(chat: Renderer, tmp_path: Path) -> None:
    def work(group: Group) -> set[int]:
        read: set[int] = set()
        preflight = run(Watched(CONVERSATIONS, range(len(CONVERSATIONS)), read), chat, tmp_path, group)
        assert preflight.num_tokens
        return read

    assert in_ranks(3, work) == [set(share_of(len(CONVERSATIONS), rank, 3)) for rank in range(3)]


@pytest.mark.parametrize("size", [1, 2, 3, 8])
def test_shares_are_contiguous_even_and_whole(size: int) -> None:
    for count in (0, 1, 4, 23, 100):
        shares = [share_of(count, rank, size) for rank in range(size)]
        assert [number for share in shares for number in share] == list(range(count))
        assert max(map(len, shares)) - min(map(len, shares)) <= 2 * 4


def test_every_rank_says_what_one_of_them_met_and_where(chat: Renderer, tmp_path: Path) -> None:
    def work(group: Group) -> Preflight:
        return run(Watched(CONVERSATIONS, range(len(CONVERSATIONS)), set(), broken=17), chat, tmp_path / "tokens", group)

    for error in in_ranks(3, work):
        assert str(error).startswith("faq/part-3.jsonl:3: it was changed")
    assert list((tmp_path / "tokens").iterdir()) == []


def test_a_failure_that_cannot_be_sent_is_told_by_its_words(chat: Renderer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Odd(Exception):
        def __init__(self, one: int, two: int) -> None:
            super().__init__(f"odd {one} {two}")

    def failing(self: Renderer, example: Example) -> Any:
        raise Odd(1, 2)

    monkeypatch.setattr(Renderer, "render", failing)
    found = in_ranks(2, lambda group: run(CONVERSATIONS, chat, tmp_path, group))
    assert [str(error) for error in found] == ["Odd: odd 1 2"] * 2


def test_a_cache_that_the_ranks_do_not_share(chat: Renderer, tmp_path: Path) -> None:
    found = in_ranks(2, lambda group: run(CONVERSATIONS, chat, tmp_path / str(group.rank), group))
    for error in found:
        assert isinstance(error, AssetError)
        assert "does not hold what the first rank put there" in str(error)
        assert error.remedy == "set TUNESMITH_CACHE to one"


def test_a_cache_that_cannot_be_written(chat: Renderer, tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text("a file")
    for error in in_ranks(2, lambda group: run(CONVERSATIONS, chat, tmp_path / "tokens", group)):
        assert isinstance(error, AssetError)
        assert "the token cache cannot be written" in str(error)


def test_ranks_with_other_examples_write_nothing(chat: Renderer, tmp_path: Path) -> None:
    """What one rank renders must not stand under the name of another's data: a later run would train on it."""

    def work(group: Group) -> Preflight:
        examples = [*CONVERSATIONS[: -group.rank or None]]
        return run(examples, chat, tmp_path / "tokens", group, cache=TokenCache(tmp_path / "tokens", f"content {group.rank // 2}"))

    for error in in_ranks(3, work):
        assert isinstance(error, GroupError)
        assert str(error).startswith("rank 2 of 3: the examples there differ from the other ranks'")
    assert not (tmp_path / "tokens").exists()


def test_ranks_with_another_tokenizer_or_limit_write_nothing(chat: Renderer, tmp_path: Path) -> None:
    found = in_ranks(2, lambda group: run(CONVERSATIONS, other_tokenizer(chat, group.rank), tmp_path / "tokens", group))
    assert [str(error).partition(" from ")[0] for error in found] == ["rank 1 of 2: the template and tokenizer there differ"] * 2
    found = in_ranks(2, lambda group: run(CONVERSATIONS, chat, tmp_path / "tokens", group, max_length=60 + group.rank))
    assert [str(error).partition(" from ")[0] for error in found] == ["rank 1 of 2: the limits of length there differ"] * 2
    assert not (tmp_path / "tokens").exists()


def test_a_split_without_a_cache_is_rendered_by_every_rank(chat: Renderer, tmp_path: Path) -> None:
    for one in in_ranks(2, lambda group: run(CONVERSATIONS, chat, tmp_path, group, cache=None)):
        assert isinstance(one, Preflight)
        assert len(one.rendered) == len(CONVERSATIONS)


def _in_a_real_group(model: Path, folder: Path) -> tuple[int, int]:
    chunks.CHUNK = 4
    with joined("cpu") as group:
        renderer = Renderer.for_model(AutoTokenizer.from_pretrained(model), "chat")
        return group.size, len(run(CONVERSATIONS, renderer, folder, group).rendered)


@pytest.mark.slow
def test_processes_of_gloo(tiny_llama: Path, chat: Renderer, tmp_path: Path) -> None:
    assert run_ranks(2, _in_a_real_group, tiny_llama, tmp_path / "ranks") == [(2, len(CONVERSATIONS))] * 2
    run(CONVERSATIONS, chat, tmp_path / "alone", Group())
    assert contents(tmp_path / "ranks") == contents(tmp_path / "alone")
