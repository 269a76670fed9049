from __future__ import annotations

import math
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rapidfuzz.distance import Levenshtein
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu import sentence_bleu, sentence_chrf

from tunesmith.evaluate.scorers import METRICS, SCORERS, chrf, exact_match, rouge_l, score_answer, token_f1
from tunesmith.evaluate.scorers.overlap import bleu, contains, edit_similarity, rouge, verbatim_match
from tunesmith.evaluate.words import normalise, num_words, pieces, words

ASCII_TEXT = st.text(alphabet="abcde fgh .,-'XYZ 0123_", max_size=60)
PARTS = st.sampled_from(["cats", "cat", "running", "run", "столица", "中国", "é!", "a", "3"]) | st.text(max_size=4)
WORDY_TEXT = st.lists(PARTS, max_size=12).map(" ".join)


@pytest.mark.parametrize(
    ("completion", "reference", "expected"),
    [
        ("The Eiffel Tower!", "eiffel tower", 1),
        ("  Paris ", "paris.", 1),
        ("Paris, France", "Paris", 0),
        ("«Привет», мир", "привет мир", 1),  # punctuation beyond ASCII
        ("我爱你。", "我爱你", 1),
        ("Cafe\u0301", "café", 1),  # composed and decomposed are the same letters
        ("2.5", "25", 0),  # a departure from SQuAD's script, which would say 1
        ("-3", "3", 0),
        ("3.", "3", 1),
        ("", "Paris", 0),
        ("???", "!!!", 0),  # nothing but punctuation: compared as it is
        ("the", "the", 1),
        ("the", "a", 0),
    ],
)
def test_exact_match_ignores_case_punctuation_and_articles_only(completion: str, reference: str, expected: int) -> None:
    assert exact_match(completion, reference) == expected


@pytest.mark.parametrize(
    ("completion", "reference", "expected"),
    [
        # By hand: 2 shared of 3 said and 4 expected -> P 2/3, R 1/2, F1 4/7.
        ("press reset now", "press the reset button twice", 4 / 7),
        ("a cat cat", "cat", 2 / 3),  # bags: one of two cats counts
        ("cat", "dog", 0.0),
        ("", "dog", 0.0),
        ("北京市", "北京", 4 / 5),  # characters are the words of Chinese
        ("Москва — столица", "столица России", 1 / 2),
    ],
)
def test_token_f1_by_hand(completion: str, reference: str, expected: float) -> None:
    assert token_f1(completion, reference) == pytest.approx(expected)


def test_rouge_l_by_hand() -> None:
    # Longest common subsequence of (the cat sat) and (the fat cat sat down): 3; P 3/3, R 3/5, F1 0.75.
    assert rouge_l("The cat sat", "The fat cat sat down") == pytest.approx(0.75)
    assert rouge_l("resetting devices", "reset device") == 1.0  # stemmed


@given(ASCII_TEXT, ASCII_TEXT)
def test_rouge_l_is_the_librarys_own_on_ascii(completion: str, reference: str) -> None:
    library = RougeScorer(["rougeL"], use_stemmer=True).score(reference, completion)["rougeL"].fmeasure
    assert rouge_l(completion, reference) == library


def test_rouge_l_sees_other_scripts_where_the_librarys_tokenizer_sees_nothing() -> None:
    russian, chinese = "столица России — Москва", "北京是中国的首都"
    assert RougeScorer(["rougeL"], use_stemmer=True).score(russian, russian)["rougeL"].fmeasure == 0
    assert rouge_l(russian, russian) == rouge_l(chinese, chinese) == 1
    assert 0 < rouge_l("中国的首都是北京", chinese) < 1


def test_chrf_by_hand_and_by_sacrebleu() -> None:
    # "Paris,France" against "Paris": of the 13 - n n-grams said, all 6 - n expected ones are there, for n = 1 to 5.
    precision = (5 / 12 + 4 / 11 + 3 / 10 + 2 / 9 + 1 / 8) / 5
    assert chrf("Paris, France", "Paris") == pytest.approx(100 * 5 * precision / (4 * precision + 1))  # F2, recall 1
    assert chrf("Paris, France", "Paris") == sentence_chrf("Paris, France", ["Paris"]).score
    assert chrf("same", "same") == 100
    assert chrf("", "same") == 0


@given(ASCII_TEXT, ASCII_TEXT, st.sampled_from(["rouge1", "rouge2", "rougeL"]))
def test_every_rouge_is_the_librarys_own_on_ascii(completion: str, reference: str, kind: str) -> None:
    library = RougeScorer([kind], use_stemmer=True).score(reference, completion)[kind]
    found = rouge(kind)(completion, reference, "")
    assert found is not None
    assert found.value == library.fmeasure
    assert found.explanation == f"precision {library.precision:.2f}, recall {library.recall:.2f}"


class EveryScript:
    """For the library: words of every script; stemmed as it does by itself."""

    def tokenize(self, text: str) -> list[str]:
        from nltk.stem.porter import PorterStemmer

        return [PorterStemmer().stem(word) if len(word) > 3 and word.isascii() else word for word in words(text)]


@settings(max_examples=50)
@given(WORDY_TEXT, WORDY_TEXT, st.sampled_from(["rouge1", "rouge2", "rougeL"]))
def test_every_rouge_is_the_librarys_own_on_any_text_cut_into_words(completion: str, reference: str, kind: str) -> None:
    found = rouge(kind)(completion, reference, "")
    assert found is not None
    assert found.value == RougeScorer([kind], tokenizer=EveryScript()).score(reference, completion)[kind].fmeasure


@given(WORDY_TEXT, WORDY_TEXT)
def test_bleu_chrf_and_edit_similarity_are_the_libraries_own(completion: str, reference: str) -> None:
    assert bleu(completion, reference) == sentence_bleu(completion, [reference]).score
    assert chrf(completion, reference) == sentence_chrf(completion, [reference]).score
    assert edit_similarity(completion, reference) == Levenshtein.normalized_similarity(completion, reference)


def test_bleu_and_edit_similarity_by_hand() -> None:
    # "the cat" of "the cat sat": both 1-grams and the 2-gram are there; brevity penalty exp(1 - 3/2).
    assert bleu("the cat", "the cat sat") == pytest.approx(100 * math.exp(-1 / 2))
    assert edit_similarity("kitten", "sitting") == pytest.approx(1 - 3 / 7)
    assert edit_similarity("", "") == 1


def test_verbatim_and_contains() -> None:
    assert (verbatim_match(" Paris\n", "Paris"), verbatim_match("paris", "Paris")) == (1, 0)
    assert contains("It is the Eiffel Tower, of course.", "Eiffel tower") == 1
    assert contains("It is the tower of Eiffel.", "Eiffel tower") == 0
    assert contains("concatenate", "cat") == 0  # whole words


@given(st.text(max_size=40), st.text(min_size=1, max_size=40))
def test_every_score_is_on_its_scale_and_best_for_the_reference_itself(completion: str, reference: str) -> None:
    every = list(SCORERS.values())
    for name, value in score_answer(completion, reference, every).items():
        assert 0 <= value <= METRICS[name].top + 1e-9, name
    itself = score_answer(reference, reference, every)
    for name in ("exact_match", "verbatim_match", "contains", "edit_similarity"):
        assert itself[name] == 1, name
    for name in itself.keys() & {"number_match", "keyword_f1", "json_fields"}:
        assert itself[name] == 1, name
    if num_words(reference):
        assert itself["rouge_l"] == pytest.approx(1)


def test_the_registry_and_the_metrics_name_the_same_things() -> None:
    assert set(SCORERS) <= set(METRICS)
    assert all(scorer.name == name == METRICS[name].name for name, scorer in SCORERS.items())
    assert all(metric.top == 1 or metric.scale == f"0 to {metric.top:g}" for metric in METRICS.values())
    assert [name for name, metric in METRICS.items() if not metric.higher_is_better] == ["loss"]


@given(st.text())
def test_pieces_lose_nothing_and_alternate_words_with_the_rest(text: str) -> None:
    assert "".join(pieces(text)) == text


@given(st.text())
def test_normalising_twice_is_normalising_once(text: str) -> None:
    # Removing punctuation can bring an article to light ("t.h.e"), which the second pass then removes; as in SQuAD's script.
    once = normalise(text)
    assert len(normalise(once)) <= len(once)


def test_words_of_many_scripts() -> None:
    assert words("Don't panic: 中国 — привет_мир!") == ["don", "t", "panic", "中", "国", "привет", "мир"]
    assert words("हिन्दी भाषा") == ["हिन्दी", "भाषा"]  # vowel signs belong to their word
    assert num_words("東京へ") == 3
    assert words("…!") == []


def test_importing_the_scorers_loads_no_heavy_library() -> None:
    code = "import sys, tunesmith.evaluate.scorers, tunesmith.evaluate.words; print([m for m in HEAVY if m in sys.modules])"
    heavy = ["nltk", "rouge_score", "sacrebleu", "scipy", "matplotlib", "torch", "numpy"]
    out = subprocess.run([sys.executable, "-c", f"HEAVY={heavy}; {code}"], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
