"""`tunesmith guard`: rates on the screen and as JSON, without a model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Tunesmith
from tunesmith.config import PrepareConfig
from tunesmith.data.prepare import prepare
from tunesmith.types import Row

REDIRECTION = "Let us keep to the garden, please."
VERBS = ("plant", "water", "prune", "harvest", "move", "feed", "sow", "graft")
PLANTS = ("roses", "beans", "apples", "tulips", "ferns", "leeks", "plums", "herbs", "vines", "figs", "kale", "moss")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pairs = [
        (f"When should I {verb} the {plant} in my garden?", f"In week {i} of {plant}.") for i, verb in enumerate(VERBS) for plant in PLANTS
    ]
    pairs += [(f"Who won the {one} championship?", REDIRECTION) for one in ("football", "tennis", "chess", "rugby", "golf", "polo")]
    rows = [Row(values={"question": question, "answer": answer}, source=f"g.csv:{i}") for i, (question, answer) in enumerate(pairs)]
    directory = tmp_path_factory.mktemp("guard") / "garden"
    prepare(None, directory, PrepareConfig(near_threshold=1.0, test_fraction=0.2), rows=rows)
    return directory


def test_rates_on_the_screen(tunesmith: Tunesmith, prepared: Path) -> None:
    result = tunesmith("guard", prepared, "--set", "scope.by=words", "--set", "pii=true", "--general")
    assert result.code == 0, result.stderr
    for text in ("false alarms", "missed off the subject", "scope.unusual", "exact binomial", "scope, false alarm"):
        assert text in result.stdout
    assert "%" in result.stdout


def test_rates_as_json(tunesmith: Tunesmith, prepared: Path, tmp_path: Path) -> None:
    (tmp_path / "off.txt").write_text("Who painted the Mona Lisa?\nHow far is the moon?\n", encoding="utf-8")
    (tmp_path / "rules.yaml").write_text("scope: {by: words, deny_words: [moon]}\nlength: {max_answer_characters: 5}\n", encoding="utf-8")
    document = tunesmith("guard", prepared, "--guardrails", "rules.yaml", "--off-topic", "off.txt", "--json").document
    scope, length = document["rules"]
    assert (scope["rule"], length["rule"], length["side"]) == ("scope", "length", "answer")
    assert scope["misses"]["total"] == document["num_off_topic"] >= 2
    assert length["false_alarms"]["count"] == document["num_answers"]
    assert len(document["thresholds"]) == 6


def test_a_file_of_questions_and_answers(tunesmith: Tunesmith, tmp_path: Path) -> None:
    rows = [{"question": "Mail ann@firm.org?", "answer": "Yes."}, {"question": "And now?", "answer": "oh shit"}]
    (tmp_path / "faq.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    document = tunesmith("guard", "faq.jsonl", "--set", "pii=true", "--set", "profanity=true", "--json").document
    counts = {(one["rule"], one["side"]): one["false_alarms"]["count"] for one in document["rules"]}
    assert counts == {("pii", "prompt"): 1, ("profanity", "prompt"): 0, ("pii", "answer"): 0, ("profanity", "answer"): 1}


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ((), "no rule is on"),
        (("--set", "scop=true"), "there is no setting 'scop'"),
        (("--set", "scope.deny_patterns=['(a+)+$']"), "takes over"),
        (("--guardrails", "nowhere.yaml"), "cannot be read"),
    ],
)
def test_mistakes_are_one_paragraph(tunesmith: Tunesmith, prepared: Path, words: tuple[str, ...], found: str) -> None:
    result = tunesmith("guard", prepared, *words)
    assert result.code == 2
    assert found in result.stderr
    assert "Traceback" not in result.stderr


def test_general_questions_need_training_prompts(tunesmith: Tunesmith, tmp_path: Path) -> None:
    (tmp_path / "faq.jsonl").write_text(json.dumps({"question": "Hi?", "answer": "Yes."}), encoding="utf-8")
    result = tunesmith("guard", "faq.jsonl", "--set", "pii=true", "--general")
    assert result.code == 2
    assert "add --run RUN" in result.stderr
