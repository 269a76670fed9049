from __future__ import annotations

import json

import pytest

from tests.conftest import SHARED_DATA
from tests.evaluate.fakes import example
from tunesmith.analyze.spelling import Misspelling, Spelling

ENGLISH = Spelling.learn([example("What does the flurbonator do?", "The flurbonator turns small models into useful ones.")])


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("recieve", "receive"),
        ("becuase", "because"),
        ("definately", "definitely"),
        ("occured", "occurred"),
        ("untill", "until"),
        ("wierd", "weird"),
        ("neccessary", "necessary"),
        ("embarassing", "embarrassing"),
        ("transmiter", "transmitter"),  # no trans- with a miter
        ("copetition", "competition"),
        ("responsability", "responsibility"),  # no ability to response
        ("unbelieveable", "unbelievable"),
        ("unneccessary", "unnecessary"),  # a prefix helps no stem that is misspelt
    ],
)
def test_misspelt_words_are_named_with_what_was_meant(wrong: str, meant: str) -> None:
    text = f"The model will, {wrong}, write answers that people like to read and use."
    assert ENGLISH.misspelt(text, known="") == [Misspelling(wrong, meant)]


@pytest.mark.parametrize(
    "text",
    [
        "I recieve2 and v1recieve are names",  # digits
        "The Recieve button and the reCieve call",  # capitals
        "see https://recieve.io/occured or occured@recieve.io or src/recieve",
        "call `recieve(occured)` and then\n```\noccured = recieve\n```\n",
        "the color of my favorite neighbor, analyzed, traveled, centered, fulfilled, practicing",  # American
        "the colour of my favourite neighbour, analysed, travelled, centred, practising",  # British
        "datasets, overfitting, hyperparameters, chatbots, preprocessing",  # compounds
        "don't, doesn't, I'm, we'll, they've, it's, the model's, the users' ones",
        "a fine-tuned, well-known, state-of-the-art model",
        "deduplication, deduplicated, upsampling, reindexing, multithreaded, unquantized",  # prefixes
        "reusability, gamification, tunable, tokenizers, robustness, serverless",  # suffixes
        "re-indexing, de-duplicated, neuro-symbolic, the reIndexing of preTrained models",
        "the flurbonator",  # of the training data
        "qwxzv, llm, gpu",  # no word is near
        "naïve café résumé",
    ],
)
def test_what_is_not_misspelt(text: str) -> None:
    assert ENGLISH.misspelt(f"This is a good answer and it has {text} in it.", known="") == []


def test_words_of_prompt_and_reference_are_right() -> None:
    assert ENGLISH.misspelt("The thing is called recieve by all of us.", known="What is RECIEVE?") == []


def test_each_word_is_named_once() -> None:
    text = "They recieve it and then they recieve it again because people recieve things."
    assert ENGLISH.misspelt(text, known="") == [Misspelling("recieve", "receive")]


@pytest.mark.parametrize(
    "text",
    [
        "Das Modell wird mit den Daten trainiert und anschließend bewertet, damit wir wissen, ob es besser geworden ist.",
        "El modelo se entrena con los datos y luego se evalúa para saber si las respuestas son mejores que antes.",
        "模型在数据上训练，然后评估，看看它是否变得更好。",
        "Модель обучается на данных и затем оценивается.",
    ],
)
def test_other_languages_are_not_checked(text: str) -> None:
    foreign = Spelling.learn([example(text, text)])
    assert not foreign.is_english
    assert foreign.misspelt("I recieve it", known="") == []
    assert ENGLISH.misspelt(text, known="") == []


def test_no_data_leaves_english_on() -> None:
    assert Spelling.learn([]).is_english


def test_real_references_are_hardly_ever_called_misspelt() -> None:
    """Every tenth reference of lamini_docs, the vocabulary learnt from the others: at most one false alarm."""
    file = SHARED_DATA / "sft" / "lamini_docs.jsonl"
    if not file.is_file():
        pytest.skip(f"real data is not here: {file}")
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    examples = [example(row["question"], row["answer"]) for row in rows]
    spelling = Spelling.learn([item for i, item in enumerate(examples) if i % 10])
    assert spelling.is_english
    assert sum(bool(spelling.misspelt(item.reference, known="")) for item in examples[::10]) <= 1
