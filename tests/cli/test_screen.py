"""What is drawn: progress live or as lines, tables, pictures; colours only where they are wanted."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tests.cli.conftest import Workspace
from tunesmith.cli.pictures import draw
from tunesmith.cli.progress import MOST_PLAIN_LINES, Pace, Stages, Watch, duration
from tunesmith.cli.terminal import console, make_streams_tolerant, print_wrapped, say, suggest, table
from tunesmith.engine.loading import load_tokenizer
from tunesmith.render.renderer import Renderer
from tunesmith.types import Example, Message


def screen(*, terminal: bool, **options: Any) -> Console:
    return Console(file=io.StringIO(), force_terminal=terminal, width=100, markup=False, highlight=False, **options)


def shown(on: Console) -> str:
    assert isinstance(on.file, io.StringIO)
    return on.file.getvalue()


def step(number: int, *, loss: float = 2.0, supervised: int = 50) -> dict[str, Any]:
    return {
        "step": number,
        "epoch": number / 100,
        "loss": loss,
        "learning_rate": 5e-4,
        "num_tokens": 100,
        "num_supervised": supervised,
        "num_terms": supervised,
        "seconds": 0.5,
        "memory_bytes": 1_450_000_000,
    }


class Clock:
    """Seconds as told."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_pace() -> None:
    clock = Clock()
    pace = Pace(num_steps=14, first_step=4, clock=clock)
    clock.now = 60.0
    assert pace.figures(step(5)) == "epoch 0.05  loss 2.000  lr 5.0e-04  200 tok/s  1.45 GB  9 min left"
    assert "loss 3.000" in pace.figures(step(6, loss=4.0))
    assert "loss 5.000" in pace.figures(step(7, loss=7.0, supervised=100))  # (2·50 + 4·50 + 7·100) / 200


def test_pace_of_a_preference_objective() -> None:
    pace = Pace(num_steps=14, first_step=4)
    first = {**step(5), "num_terms": 2, "reward_accuracy": 0.5, "reward_margin": 0.25, "kl": 1.0}
    assert "loss 2.000  accuracy 50%  margin 0.250  kl 1.00  lr" in pace.figures(first)
    second = {**step(6, loss=5.0), "num_terms": 4, "reward_accuracy": 1.0, "kl": 4.0}
    assert "loss 4.000  accuracy 83%  kl 3.00  lr" in pace.figures(second), "a mean over examples, not over steps"


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "0 s"), (59.4, "59 s"), (59.6, "1 min"), (150, "2 min"), (3599, "1 h 00 min"), (7500, "2 h 05 min")]
)
def test_duration(seconds: float, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize(("num_steps", "first_step"), [(1, 0), (7, 0), (20, 0), (21, 0), (1000, 0), (1000, 990)])
def test_a_log_has_few_step_lines_and_every_validation(num_steps: int, first_step: int) -> None:
    log = screen(terminal=False)
    watch = Watch(log)
    watch.started(num_steps, first_step)
    for number in range(first_step + 1, num_steps + 1):
        watch.stepped(step(number))
    watch.validated({"step": num_steps, "loss": 1.99584, "is_best": True})
    watch.validated({"step": num_steps, "loss": 2.5, "is_best": False})
    watch.finished()
    *steps, best, other = shown(log).splitlines()
    assert 1 <= len(steps) <= MOST_PLAIN_LINES + 1
    assert steps[-1].startswith(f"step {num_steps}/{num_steps}  epoch")
    assert best == f"step {num_steps}: validation loss 1.9958 (best)"
    assert other == f"step {num_steps}: validation loss 2.5000"


def test_a_terminal_has_a_live_line_and_lasting_validations() -> None:
    terminal = screen(terminal=True)
    watch = Watch(terminal)
    watch.started(4, 0)
    watch.stepped(step(1))
    watch.validated({"step": 1, "loss": 1.99584, "is_best": True})
    watch.stepped(step(2))
    watch.finished()
    watch.finished()  # after an interruption as well
    assert "step 1: validation loss 1.9958 (best)" in shown(terminal)
    last = shown(terminal).splitlines()[-2]  # and then the cursor is shown again
    assert "step 2/4" in last
    assert "200 tok/s  1.45 GB" in last


def test_a_terminal_that_can_do_nothing_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    terminal = screen(terminal=True)
    watch = Watch(terminal)
    watch.started(2, 0)
    watch.stepped(step(1))
    assert "step 1/2" in shown(terminal)
    assert "\x1b[2K" not in shown(terminal)


def test_stages_in_a_log() -> None:
    log = screen(terminal=False)
    stages = Stages(log)
    for stage in ("tuned: answers", "base: answers"):
        for done in range(1, 101):
            stages(stage, done, 100)
    stages.stop()
    assert shown(log).splitlines() == [f"{stage}: answers {done}/100" for stage in ("tuned", "base") for done in (25, 50, 75, 100)]


def test_stages_on_a_terminal() -> None:
    terminal = screen(terminal=True)
    stages = Stages(terminal)
    stages("tuned: answers", 3, 4)
    stages("base: answers", 1, 4)
    stages.stop()
    assert "tuned: answers 3/4" in shown(terminal)
    assert "base: answers 1/4" in shown(terminal)


@pytest.fixture(scope="module")
def renderer(tiny_llama: Path) -> Renderer:
    return Renderer.for_model(load_tokenizer(tiny_llama), "auto")


EXAMPLE = Example(
    id="1",
    source="[b]faq[/b].jsonl:17",
    group="1",
    messages=(Message(role="user", content="What is [red]LoRA[/red]?"), Message(role="assistant", content="An [i]adapter[/i].")),
)


def test_a_picture_on_a_terminal(renderer: Renderer) -> None:
    terminal = screen(terminal=True, color_system="truecolor")
    draw(renderer.render(EXAMPLE), renderer, terminal)
    assert "\x1b[1;4;32mAn [i]adapter[/i].<|im_end|>\x1b[0m" in shown(terminal)
    assert "What is [red]LoRA[/red]?" in shown(terminal)
    assert "[b]faq[/b].jsonl:17" in shown(terminal)
    assert "⟦" not in shown(terminal)


@pytest.mark.parametrize(("terminal", "no_color"), [(False, False), (True, True)])
def test_a_picture_without_colours(terminal: bool, no_color: bool, renderer: Renderer) -> None:
    paper = screen(terminal=terminal, no_color=no_color)
    draw(renderer.render(EXAMPLE), renderer, paper)
    assert "⟦An [i]adapter[/i].<|im_end|>⟧" in shown(paper)
    assert "32m" not in shown(paper)


def test_a_table_is_aligned_and_never_cut() -> None:
    lines = table(("name", "n"), [("x" * 200, "1"), ("日本", "12")], right=(1,))
    assert lines == ["name" + " " * 198 + " n", "x" * 200 + "   1", "日本" + " " * 196 + "  12"]


def test_a_paragraph_is_wrapped_for_a_person_only(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    print_wrapped("see /a/very/long/path/that/stays/whole and other-words", label="report  ")
    assert capsys.readouterr().out == "report  see /a/very/long/path/that/stays/whole and other-words\n"
    monkeypatch.setattr("tunesmith.cli.terminal.is_terminal", lambda: True)
    print_wrapped("see /a/very/long/path/that/stays/whole and other-words", label="report  ")
    indent = " " * 8
    assert capsys.readouterr().out.splitlines() == [
        "report  see",
        f"{indent}/a/very/long/path/that/stays/whole",
        f"{indent}and other-words",
    ]
    print_wrapped("short  and  spaced", label="report  ")
    assert capsys.readouterr().out == "report  short  and  spaced\n"


def test_what_a_model_says_does_not_steer_the_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, renderer: Renderer
) -> None:
    terminal = screen(terminal=True, color_system="truecolor")
    messages = (Message(role="user", content="Hi?"), Message(role="assistant", content="a\x1b[2Jb"))
    draw(renderer.render(Example(id="1", source="s", group="1", messages=messages)), renderer, terminal)
    assert "\x1b[1;4;32ma␛[2Jb<|im_end|>\x1b[0m" in shown(terminal)
    print_wrapped("a\x1b[2J\tb")
    monkeypatch.setattr("tunesmith.cli.terminal.is_terminal", lambda: True)
    print_wrapped("a\x1b[2J\tb")
    assert capsys.readouterr().out == "a\x1b[2J\tb\na␛[2J\tb\n"


def test_suggestions_can_be_pasted(capsys: pytest.CaptureFixture[str]) -> None:
    suggest(["evaluate", Path("runs/a b")], ["generate", "runs/" + "c" * 300])
    assert capsys.readouterr().err == f"next: tunesmith evaluate 'runs/a b'\n      tunesmith generate runs/{'c' * 300}\n"


def test_a_sentence_is_taken_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    say("[bold]faq[/bold] :smile: [/nothing]")
    assert capsys.readouterr().err == "[bold]faq[/bold] :smile: [/nothing]\n"


def test_other_libraries_warnings_are_not_shown() -> None:
    program = "import warnings; from tunesmith.cli.main import main; main(['--version']); warnings.warn('peft says so', FutureWarning)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    asked = subprocess.run([sys.executable, "-W", "default", "-c", program], capture_output=True, text=True, check=True)
    assert "peft says so" in asked.stderr


def test_a_long_sentence_stays_one_line_in_a_log(capsys: pytest.CaptureFixture[str]) -> None:
    console().print("word " * 100)
    assert capsys.readouterr().err.count("\n") == 1


def test_streams_take_what_their_encoding_cannot(monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(file, encoding="latin-1"))
    make_streams_tolerant()
    print("⟦\udcff⟧", flush=True)
    assert file.getvalue() == "⟦?⟧\n".encode()


def test_results_and_messages_keep_their_order_in_one_file(finished: Workspace) -> None:
    words = [sys.executable, "-m", "tunesmith", "runs", "show", str(finished.run)]
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    both = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True, env=buffered).stdout
    assert both.startswith("run  ")
    assert both.splitlines()[-2].startswith("next: tunesmith evaluate")


def run_and_leave(*words: str, directory: Path) -> tuple[int, str]:
    """Start the command line with a reader that leaves at once."""
    ours, theirs = os.pipe()
    os.close(ours)
    with os.fdopen(theirs, "wb") as pipe:
        done = subprocess.run(
            [sys.executable, "-m", "tunesmith", *words], stdout=pipe, stderr=subprocess.PIPE, text=True, check=False, cwd=directory
        )
    return done.returncode, done.stderr


@pytest.mark.parametrize("words", [("models", "--json"), ("--help",)])
def test_a_reader_that_leaves_is_no_error(words: tuple[str, ...], tmp_path: Path) -> None:
    assert run_and_leave(*words, directory=tmp_path) == (141, "")


def test_output_is_utf8_and_errors_exit_in_a_process_of_its_own(finished: Workspace) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1", "PYTHONUTF8": "0"}
    words = [sys.executable, "-m", "tunesmith", "runs", "show"]
    done = subprocess.run([*words, str(finished.run)], capture_output=True, check=True, env=environment)
    assert b"complete" in done.stdout
    failed = subprocess.run([*words, "⟦nothing⟧"], capture_output=True, check=False, env=environment)
    assert failed.returncode == 2
    assert failed.stdout == b""
    assert failed.stderr.decode().startswith("error: ⟦nothing⟧: ")
