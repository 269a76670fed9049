"""What each recipe asks, and what it keeps."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from tests.chat.endpoint import Endpoint, good_reply, serving
from tunesmith.config import PrepareConfig, SynthesizeConfig
from tunesmith.data.prepare import prepare
from tunesmith.data.reading.readers import rows_from_records
from tunesmith.data.storing.prepared import PreparedData, load_prepared
from tunesmith.errors import ConfigError, RunError
from tunesmith.synthesize.candidates import Candidate
from tunesmith.synthesize.recipes.instructions import CALLS
from tunesmith.synthesize.sieve import Sieve, fault_of
from tunesmith.synthesize.task import Options, Task, plan


@pytest.fixture
def prepared(tmp_path: Path) -> PreparedData:
    words = [
        "apple",
        "bread",
        "candle",
        "desk",
        "engine",
        "feather",
        "garden",
        "hammer",
        "island",
        "jacket",
        "kettle",
        "ladder",
        "mirror",
        "needle",
        "orange",
        "pencil",
    ]
    rows = [{"question": f"Where do I put the {word} in room {n}?", "answer": f"On the {word} shelf."} for n, word in enumerate(words * 3)]
    rows += [{"question": f"Sing about {word}", "answer": "Let's stay with storage."} for word in words[:6]]
    return prepare(None, tmp_path / "data", PrepareConfig(), rows=rows_from_records(rows))


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with serving(Endpoint(good_reply)) as running:
        yield running


def run(endpoint: Endpoint, out: Path, options: dict[str, Any], **settings: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    config = SynthesizeConfig(endpoint=endpoint.url, endpoint_model="m", **{"count": 20, **settings})
    report = plan(Options(**options), config, lambda text: None).run(out)
    return report, [json.loads(line) for line in (out / "examples.jsonl").read_text(encoding="utf-8").splitlines()]


def test_instructions_are_unlike_each_other(endpoint: Endpoint, tmp_path: Path) -> None:
    seeds = tmp_path / "seeds.jsonl"
    records = [
        {
            "id": str(n),
            "name": "x",
            "instruction": f"Explain {n}",
            "instances": [{"input": "", "output": "So."}],
            "is_classification": False,
        }
        for n in range(5)
    ]
    seeds.write_text("".join(json.dumps(record) + "\n" for record in records))
    report, examples = run(endpoint, tmp_path / "out", {"recipe": "instructions", "inputs": (str(seeds),)}, count=30)
    assert (report["kept"], report["ending"]) == (30, "enough")
    assert set(examples[0]) == {"instruction", "input", "output", "origin"}
    assert load_prepared(prepare([tmp_path / "out" / "examples.jsonl"], tmp_path / "p", PrepareConfig()).directory).kind == "conversation"
    shows_new = ["Done" in request["messages"][0]["content"] for request in endpoint.requests]
    assert shows_new == [False] * CALLS + [True] * CALLS  # new tasks are shown from the second round on


def test_a_teacher_that_repeats_itself_ends_the_work(tmp_path: Path) -> None:
    seeds = tmp_path / "seeds.jsonl"
    seeds.write_text(json.dumps({"instruction": "Name a colour", "output": "Red."}) + "\n")
    always = json.dumps([{"instruction": "Write about rivers", "input": "", "output": "They flow."}])
    with serving(Endpoint(lambda text: always)) as endpoint:
        report, examples = run(endpoint, tmp_path / "out", {"recipe": "instructions", "inputs": (str(seeds),)})
    assert (len(examples), report["ending"]) == (1, "nothing new came")
    assert report["reasons"]["its instruction is like an earlier one"] == report["rejected"]


def test_paraphrases_keep_the_answer_and_the_numbers(prepared: PreparedData, tmp_path: Path) -> None:
    def reply(text: str) -> str:
        asked = text.rsplit("<<<\n", 1)[1].removesuffix("\n>>>")
        return json.dumps([f"Please tell me this: {asked.lower()}", "Where in room 999?", asked, f"Not this: {asked}"])

    with serving(Endpoint(reply)) as endpoint:
        report, examples = run(endpoint, tmp_path / "out", {"recipe": "paraphrases", "data": prepared.directory}, count=1000)
    train = {example.prompt.lower(): example.reference for example in prepared.train}
    assert examples
    for example in examples:
        assert example["answer"] == train[example["question"].removeprefix("Please tell me this: ")]
    reasons = report["reasons"]
    assert {"it has other numbers than the prompt", "it is the prompt itself"} <= reasons.keys()
    assert any("negates" in reason for reason in reasons)


def test_the_test_split_is_never_shown_and_never_repeated(prepared: PreparedData, tmp_path: Path) -> None:
    held_out = [example.prompt for example in (*prepared.test, *prepared.validation)]
    leak = json.dumps([{"question": prompt, "answer": "It is there."} for prompt in held_out])
    with serving(Endpoint(lambda text: leak)) as endpoint:
        report, examples = run(endpoint, tmp_path / "out", {"recipe": "harder", "data": prepared.directory})
        asked = "\n".join(request["messages"][0]["content"] for request in endpoint.requests)
    assert examples == []
    assert not any(prompt in asked for prompt in held_out)
    assert report["reasons"]["nearly the same prompt is in the test data"] > 0


def test_redirections_use_the_datas_own_words(prepared: PreparedData, endpoint: Endpoint, tmp_path: Path) -> None:
    options = {"recipe": "redirections", "scope": "where things are stored", "data": prepared.directory}
    _, examples = run(endpoint, tmp_path / "out", options)
    assert {example["answer"] for example in examples} == {"Let's stay with storage."}
    assert len({example["origin"]["subject"] for example in examples}) > 3
    _, examples = run(endpoint, tmp_path / "other", {**options, "reply": "No."})
    assert {example["answer"] for example in examples} == {"No."}
    _, examples = run(endpoint, tmp_path / "free", {"recipe": "redirections", "scope": "storage"})
    assert all(example["answer"].startswith("Answer") for example in examples)


def test_templates(tmp_path: Path) -> None:
    file = tmp_path / "tickets.csv"
    file.write_text("text,queue\nIt burns {0.__class__},fire\n,none\nIt leaks,water\n")
    options = Options(
        recipe="template",
        inputs=(str(file),),
        prompt_templates=("Route: {text}", "Which queue? {{{text}}}"),
        completion_template="{queue}!",
    )
    report = plan(options, SynthesizeConfig(), lambda text: None).run(tmp_path / "out")
    examples = [json.loads(line) for line in (tmp_path / "out" / "examples.jsonl").read_text().splitlines()]
    assert (report["kept"], report["rejected"], report["reasons"]) == (2, 1, {"the column text is empty": 1})
    assert [example["answer"] for example in examples] == ["fire!", "water!"]
    assert examples[0]["question"] in ("Route: It burns {0.__class__}", "Which queue? {It burns {0.__class__}}")
    assert [example["origin"]["source"] for example in examples] == ["tickets.csv:2", "tickets.csv:4"]
    with pytest.raises(RunError, match="exists already"):
        plan(options, SynthesizeConfig(), lambda text: None).run(tmp_path / "out")


@pytest.mark.parametrize("template", ["{text.__class__}", "{text[0]}", "{}", "{text!r}", "{text:>9}", "no column", "{text"])
def test_templates_name_plain_columns(template: str, tmp_path: Path) -> None:
    file = tmp_path / "tickets.csv"
    file.write_text("text,queue\nIt burns,fire\n")
    options = Options(recipe="template", inputs=(str(file),), prompt_templates=(template,), completion_template="{queue}")
    with pytest.raises(ConfigError, match="--prompt-template"):
        plan(options, SynthesizeConfig(), lambda text: None).run(tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"recipe": "documents"}, "INPUTS is not given"),
        ({"recipe": "paraphrases"}, "--data is not given"),
        ({"recipe": "redirections"}, "--scope is not given"),
        ({"recipe": "template", "inputs": ("x.csv",)}, "--prompt-template is not given"),
        ({"recipe": "harder", "data": Path("x"), "scope": "y"}, "--scope is given"),
        ({"recipe": "errors", "inputs": ("a", "b")}, "2 runs"),
    ],
)
def test_what_a_recipe_needs(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        plan(Options(**options), SynthesizeConfig(endpoint="tiny"), lambda text: None)


def test_the_same_seed_asks_the_same(prepared: PreparedData) -> None:
    def asked(seed: int) -> list[str]:
        config = SynthesizeConfig(endpoint="tiny", seed=seed)
        task = plan(Options(recipe="harder", data=prepared.directory), config, lambda text: None)
        assert isinstance(task, Task)
        return [call.key for calls in islice(task.recipe.rounds([]), 3) for call in calls]

    assert asked(1) == asked(1)
    assert sorted(asked(1)) == sorted(asked(2))
    assert asked(1) != asked(2)


@pytest.mark.parametrize(
    ("completion", "reason"),
    [
        ("On the shelf.", None),
        ("", "empty"),
        ("TODO", "placeholder"),
        ("As an AI language model, I have no shelf.", "teacher"),
        ("According to the passage, it is there.", "page"),
        ("### Response:\nOn the shelf.", "template"),
        ("x" * 9000, "characters"),
    ],
)
def test_faults_of_proposals(completion: str, reason: str | None) -> None:
    found = fault_of(Candidate(prompt="Where is the box?", completion=completion))
    assert found is None if reason is None else reason in (found or "")


def test_the_sieve_remembers() -> None:
    sieve = Sieve(test_prompts=["What time is it in Rome?"], train_prompts=["Where is the garden shed?"])
    assert "test data" in (sieve.refusal(Candidate(prompt="what time is it in  Rome?", completion="Noon.")) or "")
    assert "training data" in (sieve.refusal(Candidate(prompt="Where is the garden shed", completion="There.")) or "")
    fresh = Candidate(prompt="Who paints the old wooden fence?", completion="Nobody.")
    assert sieve.refusal(fresh) is None
    assert "new examples" in (sieve.refusal(fresh) or "")
