"""Behind the playground: models opened and closed, answers streamed and stopped, examples saved."""

from __future__ import annotations

import asyncio
import gc
import json
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.samples import prepare_qa
from tunesmith.config import GenerateConfig, PrepareConfig, TrainConfig
from tunesmith.data.prepare import prepare
from tunesmith.errors import ConfigError, DataError, RunError
from tunesmith.evaluate.records import ANSWERS
from tunesmith.runs import RunDirectory
from tunesmith.studio.pages.playground_answers import Answer, ask
from tunesmith.studio.pages.playground_examples import append_example
from tunesmith.studio.pages.playground_models import ModelKeeper, Pair
from tunesmith.studio.pages.playground_rules import ChosenRules, Side
from tunesmith.train.train import train
from tunesmith.tuned import open_base, open_tuned
from tunesmith.types import Message

QUESTION = (Message(role="user", content="What is 1 and red?"),)
CONFIG = GenerateConfig(max_new_tokens=12)


@pytest.fixture(scope="module")
def runs(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, RunDirectory]:
    directory = tmp_path_factory.mktemp("played")
    prepare_qa(directory / "data", [(f"What is {i} and red?", "The answer is red.") for i in range(12)])
    made = {}
    for method in ("lora", "full"):
        config = TrainConfig(
            model=str(tiny_llama), data=directory / "data", method=method, learning_rate=5e-3, max_steps=4, dtype="float32", estimate=False
        )
        made[method] = train(config, runs_dir=directory, name=f"by-{method}")
    return made


async def answer(keeper: ModelKeeper, pair: Pair, side: Side, renew: Callable[[Answer], None] = lambda one: None) -> Answer:
    made = Answer(side=side, prompt=QUESTION)
    await ask(keeper, pair, made, CONFIG, None, lambda: renew(made))
    return made


def test_both_say_what_they_say_elsewhere_and_one_pair_is_open(runs: dict[str, RunDirectory]) -> None:
    expected = {}
    for run in runs.values():
        opened = {"base": open_base(run, dtype="float32"), "tuned": open_tuned(run, dtype="float32")}
        expected[run.name] = {side: model.complete([QUESTION], CONFIG)[0].text for side, model in opened.items()}

    async def talk() -> None:
        keeper, said, seen = ModelKeeper(), [], []
        for run in runs.values():
            async with keeper.use(run.path, say=said.append) as pair:
                found = await asyncio.gather(*(answer(keeper, pair, side, lambda one: seen.append(one.text)) for side in ("base", "tuned")))
                assert {one.side: one.text for one in found} == expected[run.name]
                assert (pair.base.base is pair.tuned.base) == (run.name == "by-lora")
                network = weakref.ref(pair.tuned.base.network)
                del pair
            assert keeper.open_run == run.name
        assert any("loading" in text for text in said)
        assert any(text and text not in expected["by-lora"].values() for text in seen), "it came in one piece"
        await keeper.close()
        gc.collect()
        assert keeper.open_run is None
        assert network() is None

    asyncio.run(talk())


def test_models_are_closed_when_idle_and_another_run_waits_for_answers(runs: dict[str, RunDirectory]) -> None:
    async def talk() -> None:
        keeper = ModelKeeper(idle_seconds=0.2)
        said: list[str] = []

        async def other() -> None:
            async with keeper.use(runs["full"].path, say=said.append):
                pass

        async with keeper.use(runs["lora"].path, say=lambda text: None) as pair:
            waiting = asyncio.create_task(other())
            await asyncio.sleep(0.05)
            assert keeper.open_run == "by-lora"
            assert "waiting for answers under way with another run" in said
            made = Answer(side="tuned", prompt=QUESTION)
            await ask(keeper, pair, made, GenerateConfig(max_new_tokens=100, temperature=3.0), None, made.stop)
            assert made.status == "stopped"
            assert 1 <= made.num_new_tokens < 10  # the decoder may be some tokens ahead of who stops it
            assert made.note().endswith("; stopped")
            del pair
        await waiting
        assert keeper.open_run == "by-full"
        for _ in range(100):
            await asyncio.sleep(0.05)
            if keeper.open_run is None:
                break
        assert keeper.open_run is None
        await keeper.close()

    asyncio.run(talk())


def test_a_conversation_longer_than_the_context_goes_on_without_its_beginning(runs: dict[str, RunDirectory]) -> None:
    turns = [*QUESTION, Message(role="assistant", content="red green blue " * 12)] * 4
    system = Message(role="system", content="Be brief.")

    async def talk() -> None:
        keeper = ModelKeeper()
        async with keeper.use(runs["lora"].path, say=lambda text: None) as pair:
            whole = pair.tuned.renderer.prompt_ids([system, *turns, *QUESTION])
            assert len(whole) > pair.tuned.context_length
            ids, num_cut = await keeper.render(pair.tuned, [system, *turns, *QUESTION], GenerateConfig(max_new_tokens=1000))
            assert len(ids) == len(whole) - num_cut <= pair.tuned.context_length // 2
            assert any(ids == pair.tuned.renderer.prompt_ids([system, *turns[at:], *QUESTION]) for at in (2, 4, 6, 8))
            long = Answer(side="tuned", prompt=(system, *turns, *QUESTION))
            await ask(keeper, pair, long, CONFIG, None, lambda: None)
            assert f"{long.num_cut:,} tokens of the prompt left out for want of room" in long.note()
            with pytest.raises(DataError, match="shorten it"):
                await keeper.render(pair.tuned, [Message(role="system", content="red green blue " * 200), *QUESTION], CONFIG)
        await keeper.close()

    asyncio.run(talk())


def test_guardrails_stand_before_and_after(runs: dict[str, RunDirectory]) -> None:
    async def talk() -> None:
        keeper = ModelKeeper()
        async with keeper.use(runs["lora"].path, say=lambda text: None) as pair:
            guards = await keeper.guards(pair, ChosenRules(names=("pii", "profanity")))
            assert await keeper.guards(pair, ChosenRules(names=("pii", "profanity"))) is guards
            blocked = Answer(side="tuned", prompt=(Message(role="user", content="What the fuck?"),))
            await ask(keeper, pair, blocked, CONFIG, guards["tuned"], lambda: None)
            assert blocked.text == "Sorry, I cannot answer that."
            assert blocked.num_new_tokens == 0
            assert "profanity prompt block" in blocked.note()
        await keeper.close()

    asyncio.run(talk())


def test_a_file_of_rules_is_as_the_server_takes_it(runs: dict[str, RunDirectory], tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"

    async def asked(keeper: ModelKeeper, pair: Pair, side: Side, text: str, **settings: object) -> Answer:
        guards = await keeper.guards(pair, ChosenRules(file=rules))
        made = Answer(side=side, prompt=(Message(role="user", content=text),))
        await ask(keeper, pair, made, CONFIG.model_copy(update=settings), guards.get(side), lambda: None)
        return made

    async def talk() -> None:
        keeper = ModelKeeper()
        async with keeper.use(runs["lora"].path, say=lambda text: None) as pair:
            rules.write_text("models: [by-lora]\nlength: {max_prompt_tokens: 2}\n", encoding="utf-8")
            assert (await asked(keeper, pair, "tuned", "What is 1 and red?")).text.startswith("Refused: ")
            assert (await asked(keeper, pair, "base", "What is 1 and red?")).num_new_tokens > 0, "the rules are not for it"
            rules.write_text("models: [another]\npii: true\n", encoding="utf-8")
            with pytest.raises(ConfigError, match="rules for another alone"):
                await asked(keeper, pair, "tuned", "What?")
            rules.write_text("json_schema: {schema: {type: object}, retries: 2}\n", encoding="utf-8")
            failed = await asked(keeper, pair, "tuned", "What is 1 and red?")
            assert (failed.status, failed.text, len(failed.fired)) == ("failed", "", 3)
            assert "no answer satisfied the guardrails in 3 attempts" in failed.note()
            rules.write_text("length: {max_answer_characters: 1000}\n", encoding="utf-8")
            whole = (await asked(keeper, pair, "tuned", "What is 1 and red?")).text
            cut = await asked(keeper, pair, "tuned", "What is 1 and red?", stop=(whole[3:6],))
            assert (cut.text, cut.finish) == (whole[: whole.find(whole[3:6])], "stop_string")
        await keeper.close()

    asyncio.run(talk())


def test_a_run_that_cannot_be_opened_leaves_the_keeper_as_it_was(runs: dict[str, RunDirectory], tmp_path: Path) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "run.json").write_text('{"schema_version": 1, "model": 3}', encoding="utf-8")
    (tmp_path / "broken" / "manifest.json").write_text('{"schema_version": 1, "method": []}', encoding="utf-8")

    async def talk() -> None:
        keeper = ModelKeeper()
        with pytest.raises(RunError, match="records are damaged"):
            async with keeper.use(tmp_path / "broken", say=lambda text: None):
                pass
        async with keeper.use(runs["lora"].path, say=lambda text: None) as pair:
            assert (await answer(keeper, pair, "tuned")).status == "done"
        await keeper.close()

    asyncio.run(talk())


def test_saved_examples_are_appended_and_prepare_reads_them(tmp_path: Path) -> None:
    data = tmp_path / "prepared"
    for number in range(20):
        asked = Message(role="user", content=f"What colour is number {number}?")
        file = append_example(
            data, "from chats".replace(" ", "-"), [asked, Message(role="assistant", content=f"Red\nlike {number}. \ud800")]
        )
    assert file == data / "from-chats.jsonl"
    lines = file.read_text(encoding="utf-8").splitlines()
    assert len(lines) == 20
    assert json.loads(lines[3])["messages"][1]["content"] == "Red\nlike 3. ?"
    found = prepare([file], tmp_path / "out", PrepareConfig(near_threshold=1.0))
    assert len(found.train) + len(found.validation) + len(found.test) == 20


@pytest.mark.parametrize("name", ["../up", "/etc/passwd", "a/b", "a\\b", ".hidden", "", "a\nb", "con\0", "x" * 200, "..", "ä"])
def test_names_that_lead_elsewhere_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="the file's name"):
        append_example(tmp_path / "prepared", name, QUESTION)
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "notes.jsonl").write_text("my notes", encoding="utf-8")
    (tmp_path / ANSWERS).mkdir()
    for name in ("notes", ANSWERS):
        with pytest.raises(DataError):
            append_example(tmp_path, name, QUESTION)
    assert (tmp_path / "notes.jsonl").read_text(encoding="utf-8") == "my notes"
    with pytest.raises(DataError, match="the assistant message is empty"):
        append_example(tmp_path, "new", [*QUESTION, Message(role="assistant", content=" ")])
