"""Languages are told where they can be; strays are flagged, terms and code are not."""

from __future__ import annotations

import pytest

from tunesmith.data.checks.diversity import distinct
from tunesmith.data.checks.finding import CheckContext, Finding
from tunesmith.data.checks.languages import identify
from tunesmith.data.checks.run import run_checks
from tunesmith.data.converting.examples import build_example
from tunesmith.errors import ConfigError
from tunesmith.types import Example, Message

ENGLISH = "The model is trained on your own computer, and afterwards it is compared with the one you began with."
GERMAN = "Das Modell wird auf dem eigenen Rechner trainiert und danach mit dem verglichen, mit dem man begonnen hat."


def examples(answers: list[str]) -> list[Example]:
    return [
        build_example(
            f"a.csv:{line}", messages=(Message(role="user", content=f"Question {line}"), Message(role="assistant", content=answer))
        )
        for line, answer in enumerate(answers)
    ]


def languages(answers: list[str], **context: object) -> list[Finding]:
    return run_checks(examples(answers), ["languages"], context=CheckContext(**context))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (ENGLISH, "en"),
        (GERMAN, "de"),
        ("Le modèle est entraîné sur votre propre ordinateur, puis comparé à celui du début.", "fr"),
        ("El modelo se entrena en tu propio ordenador y después se compara con el del principio.", "es"),
        ("Модель обучается на вашем собственном компьютере, а затем сравнивается с исходной.", "ru"),
        ("模型在你自己的电脑上训练，然后与开始时的模型进行比较。", "zh"),
        ("모델은 사용자의 컴퓨터에서 학습되고 이후에 처음 모델과 비교됩니다.", "ko"),
        ("Paris", None),
        ("4711", None),
        ("", None),
        ("```python\nimport os\nfor name in os.listdir('.'):\n    print(name, os.path.getsize(name))\n```", None),
        ("https://example.com/the/and/of/is/in/that and_more_of_it = the_other_thing[0]", None),
    ],
)
def test_what_a_text_is_in(text: str, code: str | None) -> None:
    assert identify(text) == code


def test_a_stray_is_flagged() -> None:
    [finding] = languages([ENGLISH] * 30 + [GERMAN] + ["Paris"] * 5)
    assert finding.flagged == (30,)
    assert finding.figures["told"] == 31
    assert finding.figures["meant"] == ["en"]
    assert finding.sentence.endswith("English 97 %, German 3.2 %; 1 example in a language that is not meant")
    assert finding.specimens[0].excerpt.startswith("German: Das Modell")
    assert finding.option == "--drop languages"


def test_a_mixture_is_meant() -> None:
    [finding] = languages([ENGLISH] * 3 + [GERMAN] * 2)
    assert (finding.count, finding.severity, finding.option) == (0, "note", "")
    [finding] = languages([ENGLISH] * 3 + [GERMAN] * 2, languages=frozenset({"de"}))
    assert finding.flagged == (0, 1, 2)


def test_an_unknown_language_is_refused() -> None:
    with pytest.raises(ConfigError, match="there is no language 'english' here"):
        languages([ENGLISH], languages=frozenset({"english"}))


def test_slices_make_no_difference() -> None:
    whole = languages([ENGLISH] * 20 + [GERMAN])
    from tunesmith.data.checks.languages import Languages

    parts = [Languages(CheckContext()), Languages(CheckContext())]
    for place, example in enumerate(examples([ENGLISH] * 20 + [GERMAN])):
        parts[place > 12].look(place, example)
    parts[0].merge(parts[1])
    assert parts[0].findings() == whole


def test_nothing_to_tell() -> None:
    assert languages(["yes", "no"]) == []


def test_distinct_runs_are_counted() -> None:
    """Of `a b a b`, two of four words differ, two of three pairs (ab, ba), two of two triples."""
    assert distinct(["a b a b"]) == ({1: 0.5, 2: pytest.approx(2 / 3), 3: 1.0}, 4)
    assert distinct(["a b", "a b"])[0] == {1: 0.5, 2: 0.5, 3: 0.0}
    assert distinct(["a b c d"] * 10, most_words=8)[1] == 8


def test_diversity_tells_copies_from_variety() -> None:
    same = run_checks(examples([ENGLISH] * 50), ["diversity"], context=CheckContext())[0].figures["answers"]["distinct_2"]
    other = run_checks(examples([ENGLISH, GERMAN]), ["diversity"], context=CheckContext())[0].figures["answers"]["distinct_2"]
    assert same < 0.05 < 0.9 < other
