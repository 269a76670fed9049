"""How much of the reference's wording a completion has: the standard overlap metrics, English and Unicode text alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING

from tunesmith.evaluate.scorers.scorer import Score, ScoringFunction
from tunesmith.evaluate.words import normalise, normalised_words, words

if TYPE_CHECKING:
    from rouge_score.rouge_scorer import RougeScorer
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF


def exact_match(completion: str, reference: str) -> float:
    """1 if both are the same after SQuAD normalisation, else 0 (Rajpurkar et al. 2016, section 6.1)."""
    return float(normalise(completion) == normalise(reference))


def verbatim_match(completion: str, reference: str) -> float:
    """1 if both are the same, character for character, but for white space around them."""
    return float(completion.strip() == reference.strip())


def contains(completion: str, reference: str) -> float:
    """1 if the completion's words hold the reference's, side by side and in order, else 0; normalised as for exact match."""
    found, expected = normalised_words(completion), normalised_words(reference)
    return float(any(found[start : start + len(expected)] == expected for start in range(len(found) - len(expected) + 1)))


def token_f1(completion: str, reference: str) -> float:
    """Harmonic mean of precision and recall over the bags of words, 0 to 1 (Rajpurkar et al. 2016, section 6.1)."""
    return score_token_f1(completion, reference, "").value


def score_token_f1(completion: str, reference: str, prompt: str) -> Score:
    """`token_f1`, with the counts it comes from."""
    found, expected = normalised_words(completion), normalised_words(reference)
    shared = sum((Counter(found) & Counter(expected)).values())
    # 2PR/(P+R) with P = shared/found and R = shared/expected
    value = 2 * shared / (len(found) + len(expected)) if shared else 0.0
    return Score(value, f"{shared} shared of {len(found)} words said and {len(expected)} expected")


def rouge_l(completion: str, reference: str) -> float:
    """F1 over the longest common subsequence of stemmed words, 0 to 1 (Lin 2004, section 3; the rouge-score library)."""
    return rouge("rougeL")(completion, reference, "").value  # type: ignore[union-attr]


def rouge(kind: str) -> ScoringFunction:
    """The scoring function of `rouge1`, `rouge2` (n-grams, Lin 2004, section 2) or `rougeL`, F1 of stemmed words, 0 to 1."""

    def function(completion: str, reference: str, prompt: str) -> Score:
        found = _rouge(kind).score(reference, completion)[kind]
        return Score(float(found.fmeasure), f"precision {found.precision:.2f}, recall {found.recall:.2f}")

    return function


def chrf(completion: str, reference: str) -> float:
    """F2 over character 1- to 6-grams, 0 to 100 (Popović 2015; the sacrebleu library's defaults)."""
    return float(_chrf().sentence_score(completion, [reference]).score)


def bleu(completion: str, reference: str) -> float:
    """Precision over word 1- to 4-grams with brevity penalty, 0 to 100 (Papineni et al. 2002; sacrebleu's sentence BLEU).

    Smoothed exponentially and over the orders that occur, as sacrebleu does for single sentences (Chen and Cherry 2014).
    """
    return float(_bleu().sentence_score(completion, [reference]).score)


def edit_similarity(completion: str, reference: str) -> float:
    """1 - Levenshtein distance / the longer one's characters, 0 to 1 (the rapidfuzz library)."""
    from rapidfuzz.distance import Levenshtein

    return float(Levenshtein.normalized_similarity(completion, reference))


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
    """Stemmed words, the units of ROUGE."""
    from nltk.stem.porter import PorterStemmer  # type: ignore[import-untyped]

    return RougeTokenizer(lru_cache(maxsize=65536)(PorterStemmer().stem))


@lru_cache(maxsize=3)
def _rouge(kind: str) -> RougeScorer:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer([kind], tokenizer=rouge_tokenizer())


@lru_cache(maxsize=1)
def _chrf() -> CHRF:
    from sacrebleu.metrics.chrf import CHRF

    return CHRF()


@lru_cache(maxsize=1)
def _bleu() -> BLEU:
    from sacrebleu.metrics.bleu import BLEU

    return BLEU(effective_order=True)
