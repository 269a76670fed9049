"""The Python API on a tiny model: the whole loop in a few lines, and the call shapes of courses."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pandas
import pytest

import tunesmith
from tunesmith import BasicModelRunner, Model
from tunesmith.errors import ConfigError, DataError, RunError
from tunesmith.train.observer import Silent

ROWS = [{"question": f"What is {n} and {n + 1}?", "answer": "red green blue"} for n in range(30)]


def make(kind: type[Model], tiny_llama: Path, folder: Path) -> Model:
    return kind(tiny_llama, runs_dir=folder / "runs", data_dir=folder / "prepared", dtype="float32", device="cpu")


def test_import_is_light() -> None:
    code = "import sys, tunesmith; print([m for m in ('torch', 'transformers', 'pydantic', 'datasets') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_public_names_exist() -> None:
    assert [name for name in tunesmith.__all__ if not hasattr(tunesmith, name)] == []
    with pytest.raises(AttributeError, match="no_such_name"):
        tunesmith.no_such_name  # noqa: B018


def test_whole_loop(tiny_llama: Path, tmp_path: Path) -> None:
    model = make(Model, tiny_llama, tmp_path)
    before = model("What is 3 and 4?", max_new_tokens=8)
    model.load_data(ROWS, test_fraction=0.4)
    run = model.train(name="loop", epochs=20, learning_rate=1e-2, patience=0)
    assert run.directory == tmp_path / "runs" / "loop"
    assert run.manifest["method"] == "lora"
    evaluation = model.evaluate(max_new_tokens=8)
    assert "better: loss" in str(evaluation)
    assert evaluation.html.is_file()
    after = model("What is 3 and 4?", max_new_tokens=8)
    assert not before.startswith("red green blue")
    assert after.startswith("red green blue")


def test_list_input_is_batched_and_equals_single(tiny_llama: Path, tmp_path: Path) -> None:
    model = make(Model, tiny_llama, tmp_path)
    prompts = ["What is 1 and 2?", "red", "one two three four five"]
    assert model(prompts, max_new_tokens=6) == [model(prompt, max_new_tokens=6) for prompt in prompts]
    assert model([]) == []


def test_course_shapes(tiny_llama: Path, tmp_path: Path) -> None:
    file = tmp_path / "faq.jsonl"
    file.write_text("".join(json.dumps({"input": row["question"], "output": row["answer"]}) + "\n" for row in ROWS), encoding="utf-8")
    model = make(BasicModelRunner, tiny_llama, tmp_path)
    assert isinstance(model, BasicModelRunner)
    model.load_data_from_jsonlines(file)
    with pytest.raises(ConfigError, match="is_public"):
        model.train(is_public=True)
    run = model.train(is_public=False, epochs=1)
    results = model.evaluate(max_new_tokens=4)
    assert list(results) == ["eval_results"]
    first = results["eval_results"][0]
    assert set(first) == {"input", "outputs"}
    assert [output["model_name"] for output in first["outputs"]] == [run.id, tiny_llama.name]
    assert all(set(output) == {"model_name", "output"} for output in first["outputs"])


def test_dataframe_and_csv_give_the_same_examples(tiny_llama: Path, tmp_path: Path) -> None:
    frame = pandas.DataFrame(ROWS)
    frame.to_csv(tmp_path / "faq.csv", index=False)
    model = make(BasicModelRunner, tiny_llama, tmp_path)
    assert isinstance(model, BasicModelRunner)
    model.load_data_from_dataframe(frame, input_key="question", output_key="answer")
    assert model.data is not None
    from_frame = {example.id for example in model.data.train}
    model.load_data_from_csv(tmp_path / "faq.csv", input_key="question", output_key="answer")
    assert {example.id for example in model.data.train} == from_frame


def test_mistakes_are_told(tiny_llama: Path, tmp_path: Path) -> None:
    model = make(Model, tiny_llama, tmp_path)
    with pytest.raises(DataError, match="load_data"):
        model.train()
    with pytest.raises(ConfigError, match="train"):
        model.evaluate()
    model.load_data(ROWS)
    with pytest.raises(ConfigError, match="epoch_count"):
        model.train(epoch_count=3)


def test_a_prepared_directory_is_taken_as_it_is(tiny_llama: Path, tmp_path: Path) -> None:
    first = make(Model, tiny_llama, tmp_path).load_data(ROWS)
    assert make(Model, tiny_llama, tmp_path).load_data(first.directory).fingerprint == first.fingerprint


def test_a_trained_run_says_where_it_is_seen_and_opens_again(
    tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    model = Model(tiny_llama, dtype="float32", device="cpu")
    model.load_data(ROWS, test_fraction=0.4)
    run = model.train(name="again", epochs=2, learning_rate=1e-2)
    printed = capsys.readouterr().out
    assert run.dashboard_url == "http://127.0.0.1:8080/runs/again"
    assert run.playground_url == "http://127.0.0.1:8080/playground?run=again"
    assert run.studio_command == "tunesmith studio"
    assert all(text in printed for text in ("run again is in", run.dashboard_url, run.playground_url, run.studio_command))
    said = model("What is 3 and 4?", max_new_tokens=8)
    for reference in (run.id, run.directory):
        opened = Model(reference, dtype="float32", device="cpu")
        assert opened("What is 3 and 4?", max_new_tokens=8) == said
    assert "loss" in str(opened.evaluate(max_new_tokens=4))
    opened.load_data(ROWS)
    after = opened.train(name="further", epochs=1)
    assert json.loads((after.directory / "run.json").read_text(encoding="utf-8"))["parent"]
    elsewhere = tunesmith.TrainedRun(id="a b", directory=tmp_path / "my runs" / "a b")
    assert elsewhere.dashboard_url.endswith("/runs/a%20b")
    assert elsewhere.studio_command == f"tunesmith studio --runs '{tmp_path / 'my runs'}'"


def test_a_name_of_a_run_and_of_a_model_is_refused_and_a_path_is_no_name(tmp_path: Path) -> None:
    for name in ("smollm2-135m-instruct", "mine"):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "run.json").write_text('{"schema_version": 1}', encoding="utf-8")
    with pytest.raises(ConfigError, match="is a named model, and a run"):
        Model(runs_dir=tmp_path / "runs")
    assert Model("mine", runs_dir=tmp_path / "runs").run is not None
    assert Model("../runs/mine", runs_dir=tmp_path / "runs").run is None
    assert Model("theirs", runs_dir=tmp_path / "runs").run is None


def test_several_processes_train_and_evaluate_as_one(tiny_llama: Path, tmp_path: Path) -> None:
    one, two = make(Model, tiny_llama, tmp_path), make(Model, tiny_llama, tmp_path)
    for model in (one, two):
        model.load_data(ROWS, test_fraction=0.4)
    alone = one.train(name="alone", epochs=1, learning_rate=1e-2)
    handler, environment = signal.getsignal(signal.SIGINT), dict(os.environ)
    shared = two.train(name="shared", processes=2, epochs=1, learning_rate=1e-2)
    assert (signal.getsignal(signal.SIGINT), dict(os.environ)) == (handler, environment)
    assert shared.directory == tmp_path / "runs" / "shared"
    assert shared.manifest["best_loss"] == pytest.approx(alone.manifest["best_loss"], abs=2e-5)
    by_two, by_one = two.evaluate(processes=2, max_new_tokens=4), two.evaluate(max_new_tokens=4)
    assert by_two.report.summary_lines() == by_one.report.summary_lines()
    with pytest.raises(RunError, match="shared"):  # what a process raised, as it raised it
        two.train(name="shared", processes=2, epochs=1)


def test_processes_that_cannot_be_are_refused(tiny_llama: Path, tmp_path: Path) -> None:
    model = Model(tiny_llama, runs_dir=tmp_path / "runs", data_dir=tmp_path / "prepared", observer=Silent())
    model.load_data(ROWS)
    with pytest.raises(ConfigError, match="processes=0"):
        model.train(processes=0)
    with pytest.raises(ConfigError, match="observer"):
        model.train(processes=2)
