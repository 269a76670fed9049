"""Every scorer by name, and the choice among them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from tunesmith.assets import DEFAULT_SENTENCE_MODEL
from tunesmith.errors import ConfigError
from tunesmith.evaluate.scorers import meaning, overlap, own, patterns, structured
from tunesmith.evaluate.scorers.labels import label_accuracy
from tunesmith.evaluate.scorers.redirections import learn_redirections, redirected
from tunesmith.evaluate.scorers.scorer import Metric, Score, Scorer, ScoringFunction
from tunesmith.evaluate.scorers.shape import SCORERS_OF, shape_of
from tunesmith.types import Example

LOSS = Metric(name="loss", title="loss", higher_is_better=False, scale="nats per supervised token", decimals=2)
"""Of the reference given the prompt; not a scorer, the model itself is asked."""
WEIGHTED = Metric(name="score", title="score", higher_is_better=True, scale="weighted mean of the scorers, 0 to 1", decimals=3)
"""Of the scorers that were given weights."""


class Known(NamedTuple):
    """What scorers may know beside completion, reference and prompt."""

    examples: Sequence[Example]
    """Of training and evaluation."""
    train: Sequence[Example]
    embeddings: str
    """Name of the sentence model."""


def _metric(name: str, title: str, scale: str = "0 to 1", *, decimals: int = 2, binary: bool = False, top: float = 1.0) -> Metric:
    return Metric(name=name, title=title, higher_is_better=True, scale=scale, decimals=decimals, binary=binary, top=top)


def _compared(function: Callable[[str, str], float]) -> ScoringFunction:
    """A comparison of completion and reference as a scorer's function."""
    return lambda completion, reference, prompt: Score(function(completion, reference))


def _plain(metric: Metric, function: ScoringFunction) -> Scorer:
    return Scorer(metric=metric, function=function)


SCORERS: Mapping[str, Scorer] = {
    scorer.name: scorer
    for scorer in (
        _plain(_metric("exact_match", "exact match", "0 or 1", binary=True), _compared(overlap.exact_match)),
        _plain(_metric("verbatim_match", "verbatim", "0 or 1", binary=True), _compared(overlap.verbatim_match)),
        _plain(_metric("contains", "contains", "0 or 1", binary=True), _compared(overlap.contains)),
        _plain(_metric("token_f1", "token F1"), overlap.score_token_f1),
        _plain(_metric("rouge_1", "ROUGE-1"), overlap.rouge("rouge1")),
        _plain(_metric("rouge_2", "ROUGE-2"), overlap.rouge("rouge2")),
        _plain(_metric("rouge_l", "ROUGE-L"), overlap.rouge("rougeL")),
        _plain(_metric("bleu", "BLEU", "0 to 100", decimals=1, top=100.0), _compared(overlap.bleu)),
        _plain(_metric("chrf", "chrF", "0 to 100", decimals=1, top=100.0), _compared(overlap.chrf)),
        _plain(_metric("edit_similarity", "edit similarity"), _compared(overlap.edit_similarity)),
        _plain(_metric("number_match", "number match", "0 or 1", binary=True), structured.number_match()),
        _plain(_metric("keyword_f1", "keyword F1"), structured.keyword_f1),
        _plain(_metric("json_valid", "JSON valid", "0 or 1", binary=True), structured.json_valid),
        _plain(_metric("json_fields", "JSON fields"), structured.json_fields),
    )
}
"""Those that need to know nothing beside the completion, its reference and its prompt."""

_LABEL_ACCURACY = _metric("label_accuracy", "label accuracy", "0 or 1", binary=True)
_REDIRECTED = _metric("redirected", "redirected", "0 or 1, as the reference does or not", binary=True)
_MAKERS: Mapping[str, tuple[Metric, Callable[[Known], Scorer]]] = {
    "label_accuracy": (
        _LABEL_ACCURACY,
        lambda known: _plain(_LABEL_ACCURACY, label_accuracy([example.reference for example in known.examples])),
    ),
    "redirected": (_REDIRECTED, lambda known: _plain(_REDIRECTED, redirected(learn_redirections(known.train or known.examples)))),
    "embedding_similarity": (meaning.METRIC, lambda known: meaning.embedding_scorer(known.embeddings)),
}
"""Those made for a data set."""

MACRO_F1 = _metric("macro_f1", "macro-F1")
"""Of label accuracy: a number of all examples together, not a mean over them."""
BALANCED_ACCURACY = _metric("balanced_accuracy", "balanced accuracy")
"""Of label accuracy: the mean of the labels' recalls."""

METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        LOSS,
        WEIGHTED,
        _LABEL_ACCURACY,
        MACRO_F1,
        BALANCED_ACCURACY,
        *(scorer.metric for scorer in SCORERS.values()),
        meaning.METRIC,
        _REDIRECTED,
    )
}
"""All with a fixed name; `metric_of` knows the others too."""

DESCRIPTIONS: Mapping[str, str] = {
    "exact_match": "the same words; case, punctuation and articles aside",
    "verbatim_match": "the same characters",
    "contains": "the reference's words stand in the completion",
    "token_f1": "words shared, as for SQuAD",
    "rouge_1": "single words shared",
    "rouge_2": "pairs of words shared",
    "rouge_l": "longest common sequence of words",
    "bleu": "word 1- to 4-grams, sentence by sentence (sacrebleu)",
    "chrf": "character 1- to 6-grams (sacrebleu)",
    "edit_similarity": "characters that need no editing (Levenshtein)",
    "embedding_similarity": "the same meaning, by a sentence model",
    "label_accuracy": "the right label; with macro-F1, balanced accuracy and a confusion matrix",
    "redirected": "declines where the reference does, and only there",
    "number_match": "the same number; number_match:0.01 allows 1 %",
    "keyword_f1": "keywords of a list, in any order",
    "json_valid": "nothing but JSON",
    "json_fields": "fields of JSON with their values",
    "regex:PATTERN": "the pattern is found in the completion",
    "FILE.py:FUNCTION": "your own: function(completion, reference, prompt) gives a number, or (number, why)",
}
"""For help: every scorer's name or form, and what it asks."""


def resolve_scorers(
    names: Sequence[str] | None,
    examples: Sequence[Example],
    *,
    train: Sequence[Example] = (),
    also: Iterable[str] = (),
    embeddings: str = DEFAULT_SENTENCE_MODEL,
) -> tuple[Scorer, ...]:
    """The scorers called `names`, or those that suit the shape of the data; the first decides.

    Args:
        names: None chooses by the references of all examples given.
        examples: to be scored.
        train: the labels and redirections of a data set are learnt from these too.
        also: names that are wanted in any case, as they have weights.
        embeddings: the sentence model of embedding similarity.

    Raises:
        ConfigError: there is no such scorer, or a scorer of the user's own cannot be loaded.
    """
    known = Known(examples=[*train, *examples], train=train, embeddings=embeddings)
    wanted = _suiting(known) if names is None else names
    return tuple(_make(name, known) for name in dict.fromkeys([*wanted, *also]))


def _suiting(known: Known) -> list[str]:
    shape = shape_of([example.reference for example in known.examples if example.messages])
    redirections = learn_redirections(known.train or known.examples) if shape in ("prose", "short") else ()
    return [*SCORERS_OF[shape], *(["redirected"] if redirections else [])]


def _make(name: str, known: Known) -> Scorer:
    if name in SCORERS:
        return SCORERS[name]
    if name in _MAKERS:
        return _MAKERS[name][1](known)
    if name.startswith("number_match:"):
        return _tolerant(name)
    if name.startswith(patterns.PREFIX):
        return patterns.regex_scorer(name)
    if own.MARK in name:
        return own.own_scorer(name)
    raise ConfigError("scorers", f"there is no scorer {name!r}", expected=f"one of {', '.join(DESCRIPTIONS)}", remedy="correct the name")


def _tolerant(name: str) -> Scorer:
    """`number_match:0.01`."""
    text = name.partition(":")[2]
    if not re.fullmatch(r"0|0?\.\d+", text):
        expected = "a share of the number, from 0 to below 1"
        raise ConfigError(f"scorer {name}", f"the tolerance is {text!r}", expected=expected, remedy="write for example number_match:0.01")
    return _plain(_tolerant_metric(name), structured.number_match(float(text)))


def _tolerant_metric(name: str) -> Metric:
    return _metric(name, f"number match ± {float(name.partition(':')[2]):.3g}", "0 or 1", binary=True)


def metric_of(name: str) -> Metric:
    """The metric called `name`, of records.

    Raises:
        KeyError: there is none.
    """
    if name in METRICS:
        return METRICS[name]
    if name.startswith("number_match:"):
        return _tolerant_metric(name)
    if name.startswith(patterns.PREFIX):
        return patterns.regex_metric(name)
    if own.MARK in name:
        return own.own_metric(name)
    raise KeyError(name)
