"""How close a completion is to its reference, one number a scorer; pure functions, English and Unicode text alike.

    >>> score_answer("Paris, France", "Paris")
    {'exact_match': 0.0, 'token_f1': 0.6666666666666666, 'rouge_l': 0.6666666666666666, 'chrf': 66.64...}

A new scorer is one function and one entry in `SCORERS`; statistics, report and pages follow from it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from tunesmith.evaluate.words import normalise, normalised_words, words

if TYPE_CHECKING:
    from rouge_score.rouge_scorer import RougeScorer
    from sacrebleu.metrics.chrf import CHRF


@dataclass(frozen=True, kw_only=True, slots=True)
class Metric:
    """A number per example: what it is called, which way is better, how it is written."""

    name: str
    """Key in records and reports."""
    title: str
    """For people."""
    higher_is_better: bool
    scale: str
    """Range or unit, in words."""
    decimals: int
    """Digits after the point where the interval asks for no more."""
    binary: bool = False
    """Only 0 and 1 occur; tested with McNemar."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scorer:
    """A metric computed from a completion and its reference alone."""

    metric: Metric
    function: Callable[[str, str], float]
    """(completion, reference) -> score on `metric.scale`."""

    @property
    def name(self) -> str:
        return self.metric.name

    @property
    def title(self) -> str:
        return self.metric.title


LOSS = Metric(name="loss", title="loss", higher_is_better=False, scale="nats per supervised token", decimals=2)
"""Of the reference given the prompt; not a scorer, the model itself is asked."""


def exact_match(completion: str, reference: str) -> float:
    """1 if both are the same after SQuAD normalisation, else 0 (Rajpurkar et al. 2016, section 6.1)."""
    return float(normalise(completion) == normalise(reference))


def token_f1(completion: str, reference: str) -> float:
    """Harmonic mean of precision and recall over the bags of words, 0 to 1 (Rajpurkar et al. 2016, section 6.1)."""
    found, expected = normalised_words(completion), normalised_words(reference)
    shared = sum((Counter(found) & Counter(expected)).values())
    # 2PR/(P+R) with P = shared/found and R = shared/expected
    return 2 * shared / (len(found) + len(expected)) if shared else 0.0


def rouge_l(completion: str, reference: str) -> float:
    """F1 over the longest common subsequence of stemmed words, 0 to 1 (Lin 2004, section 3; the rouge-score library)."""
    return float(_rouge().score(reference, completion)["rougeL"].fmeasure)


def chrf(completion: str, reference: str) -> float:
    """F2 over character 1- to 6-grams, 0 to 100 (Popović 2015; the sacrebleu library's defaults)."""
    return float(_chrf().sentence_score(completion, [reference]).score)


SCORERS: Mapping[str, Scorer] = {
    scorer.name: scorer
    for scorer in (
        Scorer(
            metric=Metric(name="exact_match", title="exact match", higher_is_better=True, scale="0 or 1", decimals=2, binary=True),
            function=exact_match,
        ),
        Scorer(
            metric=Metric(name="token_f1", title="token F1", higher_is_better=True, scale="0 to 1", decimals=2),
            function=token_f1,
        ),
        Scorer(
            metric=Metric(name="rouge_l", title="ROUGE-L", higher_is_better=True, scale="0 to 1", decimals=2),
            function=rouge_l,
        ),
        Scorer(
            metric=Metric(name="chrf", title="chrF", higher_is_better=True, scale="0 to 100", decimals=1),
            function=chrf,
        ),
    )
}

METRICS: Mapping[str, Metric] = {LOSS.name: LOSS, **{name: scorer.metric for name, scorer in SCORERS.items()}}
"""Everything that is compared, in the order of tables."""


def score_answer(completion: str, reference: str) -> dict[str, float]:
    """Every scorer's number by name."""
    return {name: scorer.function(completion, reference) for name, scorer in SCORERS.items()}


class RougeTokenizer:
    """rouge-score's tokenizer for every script: its own drops all but a-z and 0-9, so that Russian would score 0.

    The same tokens as `RougeScorer(use_stemmer=True)` on ASCII text.
    """

    def __init__(self, stem: Callable[[str], str]) -> None:
        self._stem = stem

    def tokenize(self, text: str) -> list[str]:
        return [self._stem(word) if len(word) > 3 and word.isascii() else word for word in words(text)]


@lru_cache(maxsize=1)
def rouge_tokenizer() -> RougeTokenizer:
    """Stemmed words, the units of ROUGE-L."""
    from nltk.stem.porter import PorterStemmer  # type: ignore[import-untyped]

    return RougeTokenizer(lru_cache(maxsize=65536)(PorterStemmer().stem))


@lru_cache(maxsize=1)
def _rouge() -> RougeScorer:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(["rougeL"], tokenizer=rouge_tokenizer())


@lru_cache(maxsize=1)
def _chrf() -> CHRF:
    from sacrebleu.metrics.chrf import CHRF

    return CHRF()
