"""Preference data and long texts through `prepare` and `preview`."""

from __future__ import annotations

from pathlib import Path

from tests.cli.conftest import Tunesmith, write_rows


def test_pairs_in_columns_of_other_names(tunesmith: Tunesmith, tiny_llama: Path, tmp_path: Path) -> None:
    rows = [{"query": f"What is {i}?", "winner": f"{i} is red.", "loser": f"{i}? Go away."} for i in range(20)]
    file = write_rows(tmp_path / "votes.jsonl", rows)
    keys = ["--prompt-key", "query", "--chosen-key", "winner", "--rejected-key", "loser"]
    result = tunesmith("prepare", file, "--out", "votes", *keys)
    assert result.code == 0, result.stderr
    assert "query -> prompt, winner -> better answer, loser -> worse answer (as named)" in result.stdout
    assert "kept 20 preference pairs" in result.stdout
    result = tunesmith("preview", "votes", "--model", tiny_llama, "--source", "votes.jsonl:8")
    assert result.code == 0, result.stderr
    chosen, _, rejected = result.stdout.partition("votes.jsonl:8, rejected: ")
    assert chosen.startswith("votes.jsonl:8, chosen: ")
    assert "⟦7 is red.<|im_end|>⟧" in chosen
    assert "⟦7? Go away.<|im_end|>⟧" in rejected
    assert "train: 18 preference pairs, " in rejected
    document = tunesmith("preview", "votes", "--model", tiny_llama, "--count", "1", "--json").document
    (example,) = document["examples"]
    assert (document["kind"], example["kind"]) == ("pair", "pair")
    prompts = [side["spans"][0] for side in (example, example["rejected"])]
    assert prompts[0] == prompts[1]
    assert not prompts[0]["supervised"]


def test_judged_answers(tunesmith: Tunesmith, tiny_llama: Path, tmp_path: Path) -> None:
    rows = [{"q": f"What is {i}?", "a": f"{i} is red.", "thumbs": i % 2} for i in range(20)]
    file = write_rows(tmp_path / "votes.jsonl", rows)
    result = tunesmith("prepare", file, "--out", "votes", "--prompt-key", "q", "--completion-key", "a", "--label-key", "thumbs")
    assert "kept 20 judged answers (10 desirable, 10 not)" in result.stdout, result.stderr
    for line, word in ((7, "undesirable"), (8, "desirable")):
        shown = tunesmith("preview", "votes", "--model", tiny_llama, "--source", f"votes.jsonl:{line}").stdout
        assert shown.startswith(f"votes.jsonl:{line}, {word}: ")
    document = tunesmith("preview", "votes", "--model", tiny_llama, "--source", "votes.jsonl:7", "--json").document
    assert document["examples"][0]["label"] is False


def test_a_long_text(tunesmith: Tunesmith, tiny_llama: Path, tmp_path: Path) -> None:
    (tmp_path / "book.txt").write_text("The quick brown fox jumps over the lazy dog.\n\n" * 300, encoding="utf-8")
    assert "kept 1 document, cut into " in tunesmith("prepare", "book.txt", "--out", "book").stdout
    result = tunesmith("preview", "book", "--model", tiny_llama)
    assert result.code == 0, result.stderr
    assert result.stdout.startswith("book.txt:1, window 1 of ")
    assert "train: 1 text in " in result.stdout
    assert ", 0 are over 256" in result.stdout


def test_an_equal_pair_stops_with_its_place(tunesmith: Tunesmith, tmp_path: Path) -> None:
    file = write_rows(tmp_path / "votes.jsonl", [{"prompt": "a", "chosen": "b", "rejected": "b"}])
    result = tunesmith("prepare", file, "--out", "votes")
    assert result.code == 2
    assert "votes.jsonl:1" in result.stderr
    assert "chosen and rejected are both 'b'" in " ".join(result.stderr.split())
    assert not (tmp_path / "votes").exists()


def test_help_says_which_columns_are_recognised(tunesmith: Tunesmith) -> None:
    words = " ".join(tunesmith("prepare", "--help").stdout.split())
    for columns in ("question + answer", "messages (OpenAI)", "conversations (ShareGPT)", "chosen + rejected", "label (true or false"):
        assert columns in words
