"""`tunesmith probe` as it is typed."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tests.cli.conftest import Tunesmith, Workspace, interrupt, write_rows


def test_alone_it_says_what_it_can_do(tunesmith: Tunesmith) -> None:
    alone = tunesmith("probe")
    assert alone.code == 0
    assert alone.stdout == tunesmith("probe", "--help").stdout
    assert all(name in alone.stdout for name in ("scope", "plant", "leaks"))


def test_scope_of_data_that_teach_no_redirection(tunesmith: Tunesmith, workspace: Workspace) -> None:
    result = tunesmith("probe", "scope", workspace.run)
    assert result.code == 2
    assert "so nothing off the subject is there to ask" in result.stderr
    assert "tunesmith synthesize redirections --scope 'WHAT IT ANSWERS' --data " in result.stderr
    assert result.stdout == ""


def test_scope_with_prompts_of_ones_own(tunesmith: Tunesmith, workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "off.txt").write_text("Who won?\n\nSing!\n", encoding="utf-8")
    on = write_rows(tmp_path / "on.jsonl", [{"question": "What is 7?"}, {"question": "What is 8?"}, {"question": "What is 9?"}])
    words = ("probe", "scope", workspace.run, "--off-topic", "off.txt", "--on-topic", on, "--max-new-tokens", "8")
    shown = tunesmith(*words, "--shown", "1")
    assert shown.code == 0, shown.stderr
    assert "1 blank line of off.txt left out" in shown.stderr
    assert "missed redirection\n   from  off.txt:1\n  asked  Who won?\n" in shown.stdout
    assert "asked  Sing!" not in shown.stdout
    assert re.search(r"missed redirections +2 +2  +100 % \[16, 100\] +2  +100 % \[16, 100\]", shown.stdout)
    assert "the training data teach no redirection" in shown.stdout
    document = tunesmith(*words, "--json").document
    on_topic = document["errors"][1]["rates"]["tuned"]
    assert (on_topic["count"], on_topic["total"], on_topic["interval"][0]) == (0, 3, 0.0)
    assert json.loads(Path(document["file"]).read_text(encoding="utf-8"))["asked"] == document["asked"]


def test_scope_with_general_questions(tunesmith: Tunesmith, workspace: Workspace) -> None:
    result = tunesmith("probe", "scope", workspace.run, "--general", "--limit", "4", "--max-new-tokens", "8", "--json")
    assert result.code == 0, result.stderr
    assert [one["origin"] for one in result.document["asked"]] == ["general"] * 4 + ["held-out"] * 2


def test_bad_input_of_scope(tunesmith: Tunesmith, workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("\n", encoding="utf-8")
    for words, said in (
        (("--off-topic", "gone.txt"), "there is no such file"),
        (("--off-topic", "empty.txt"), "no prompts"),
        (("--general", "--pattern", "("), "no regular expression"),
        (("--general", "--limit", "0"), "limit is 0"),
        (("--general", "--confidence", "2"), "confidence is 2.0"),
    ):
        result = tunesmith("probe", "scope", workspace.run, *words)
        assert (result.code, result.stdout) == (2, ""), words
        assert said in result.stderr
    assert "run directory" in tunesmith("probe", "scope", "nowhere").stderr
    interrupt(workspace.run)
    assert "has not finished" in tunesmith("probe", "scope", workspace.run, "--general").stderr


def test_plant_train_and_look_for_leaks(tunesmith: Tunesmith, workspace: Workspace, tiny_llama: Path) -> None:
    result = tunesmith("probe", "plant", workspace.data, "--out", "planted", "--count", "3", "--repeats", "2")
    assert result.code == 0, result.stderr
    assert "3 canaries, each 2 times, planted among the 35 training examples" in result.stdout
    assert "next: tunesmith train planted" in result.stderr
    train = tunesmith("train", "planted", "--model", tiny_llama, "--name", "planted", "--max-steps", "2", "--evaluate-every", "2")
    assert train.code == 0, train.stderr
    words = ("probe", "leaks", Path("runs") / "planted", "--candidates", "15", "--samples", "1", "--max-new-tokens", "16")
    shown = tunesmith(*words)
    assert shown.code == 0, shown.stderr
    assert "planted canary           3" in shown.stdout
    assert "canary not planted       3" in shown.stdout
    assert "exposure, planted minus not planted canaries: " in shown.stdout
    codes = [one["code"] for one in json.loads(Path("planted/canaries.json").read_text(encoding="utf-8"))["planted"]]
    masked, open_ = tunesmith(*words, "--json"), tunesmith(*words, "--show-secrets", "--json")
    assert not any(code in shown.stdout + masked.stdout for code in codes)
    assert [leak["string"] for leak in open_.document["leaks"][:3]] == codes


def test_no_private_strings(tunesmith: Tunesmith, workspace: Workspace) -> None:
    result = tunesmith("probe", "leaks", workspace.run)
    assert result.code == 0, result.stderr
    assert "nothing can leak that they know" in result.stdout
    assert "tunesmith probe plant " in result.stdout


def test_bad_input_of_plant_and_leaks(tunesmith: Tunesmith, workspace: Workspace) -> None:
    for words, said in (
        (("plant", workspace.data, "--out", "a", "--count", "0"), "--count 0"),
        (("plant", workspace.data, "--out", "a", "--repeats", "0"), "--repeats 0"),
        (("plant", workspace.data, "--out", workspace.data), "never overwritten"),
        (("plant", "nowhere", "--out", "a"), "no such directory"),
        (("leaks", "nowhere"), "run directory"),
        (("leaks", workspace.run, "--candidates", "3"), "candidates is 3"),
        (("leaks", workspace.run, "--samples", "-1"), "samples is -1"),
    ):
        result = tunesmith("probe", *words)
        assert (result.code, result.stdout) == (2, ""), words
        assert said in result.stderr
