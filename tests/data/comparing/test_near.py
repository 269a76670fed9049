"""Near texts are found, unlike ones are not, and neither depends on order, process or place."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunesmith.data.comparing import near
from tunesmith.data.comparing.near import NearIndex, band_shape, near_clusters
from tunesmith.data.comparing.shingles import common_shingles, normalise, pair_similarities, shingle_set, similarity, text_hashes

WORDS = ["".join(random.Random(number).choices("abcdefghijklmnopqrstuvwxyz", k=7)) for number in range(500)]


def sentence(rng: random.Random, length: int = 24) -> str:
    return " ".join(rng.choice(WORDS) for _ in range(length))


def edited(text: str, rng: random.Random) -> str:
    words = text.split()
    words[rng.randrange(len(words))] = rng.choice(WORDS)
    return " ".join(words)


def partition(clusters: np.ndarray, names: list[str]) -> set[frozenset[str]]:
    groups = defaultdict(set)
    for name, cluster in zip(names, clusters.tolist(), strict=True):
        groups[cluster].add(name)
    return {frozenset(group) for group in groups.values()}


def brute_clusters(texts: list[str], threshold: float) -> list[int]:
    """Connected components by comparing everything with everything."""
    numbers = list(range(len(texts)))
    for first in range(len(texts)):
        for second in range(first):
            if similarity(texts[first], texts[second]) >= threshold:
                low, high = sorted((numbers[first], numbers[second]))
                numbers = [low if number == high else number for number in numbers]
    return numbers


def test_what_does_not_count() -> None:
    assert normalise('  "Hello,\n  WORLD!" (Yes)') == "hello world yes"
    assert similarity("How do I enable it?", "how do I  enable it") == 1
    assert normalise("5 + 3?") != normalise("5 - 3?")
    assert normalise("?!") == "?!"
    assert normalise(" \n") == ""
    assert normalise("Ｈｅｌｌｏ") == "hello"


def test_short_texts_have_to_agree_more() -> None:
    short = similarity("How do I enable it?", "How do I disable it?")
    long = "Since we moved to the new plan last week the whole team asks every day, so tell me: how do I enable it?"
    assert short < 0.6
    assert similarity(long, long.replace("enable", "disable")) > 0.8


def test_similarity_is_jaccards() -> None:
    """` abcd ` and ` abce `: of the runs of four, ` abc` is shared and two on each side are not."""
    assert similarity("abcd", "abce") == pytest.approx(1 / 5)
    assert similarity("a", "b") == 0
    texts = [normalise(one) for one in ("one two three", "one two four", "five", "five six")]
    found = pair_similarities(texts, np.array([0, 2, 1]), np.array([1, 3, 1]), np.zeros(0, np.uint64))
    assert found.tolist() == [similarity(texts[0], texts[1]), similarity(texts[2], texts[3]), 1.0]


@given(st.lists(st.text(max_size=12), max_size=12))
def test_hashes_of_texts_tell_texts_apart(texts: list[str]) -> None:
    hashes = text_hashes(texts).tolist()
    assert all((first == second) == (hashes[i] == hashes[j]) for i, first in enumerate(texts) for j, second in enumerate(texts))


def test_hashes_are_those_of_every_machine() -> None:
    """Golden, from this very function: a change moves examples of every earlier split to other sides."""
    assert text_hashes(["", "tunesmith"]).tolist() == [16294208416658607535, GOLDEN_TEXT]
    assert shingle_set("abcd").tolist() == GOLDEN_SHINGLES


GOLDEN_TEXT = 8338182387353383287
GOLDEN_SHINGLES = [1017342827272741463, 5151994099878865588, 10734172733607939576]


def test_clusters_name_their_first_text() -> None:
    clusters = near_clusters(["How do I enable it?", "how do I enable it", "How do I disable it?", "", " ", "HOW do I enable it?!"])
    assert clusters.tolist() == [0, 0, 2, 3, 4, 0]
    assert near_clusters([]).tolist() == []


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_as_if_everything_was_compared_with_everything(seed: int) -> None:
    """Never a false pair; chains of several edits at every distance from the threshold. A missed pair is possible and rare."""
    rng = random.Random(seed)
    texts = [sentence(rng) for _ in range(8)]
    for _ in range(12):
        texts.append(edited(rng.choice(texts), rng))
    expected = brute_clusters(texts, 0.8)
    found = near_clusters(texts).tolist()
    assert all(expected[position] == expected[number] for position, number in enumerate(found))
    assert sum(one == other for one, other in zip(found, expected, strict=True)) >= len(texts) - 2


def test_nearly_all_of_many_edits_are_found() -> None:
    rng = random.Random(3)
    originals = [sentence(rng) for _ in range(400)]
    copies = originals
    for share in (1, 2, 4, 8):  # of the texts, every so many-th is edited once more: similarities on both sides of the threshold
        copies = [edited(text, rng) if number % share == 0 else text for number, text in enumerate(copies)]
    clusters = near_clusters(originals + copies)
    assert (clusters[:400] == np.arange(400)).all()
    wanted = [similarity(*pair) >= 0.8 for pair in zip(originals, copies, strict=True)]
    found = clusters[400:] == np.arange(400)
    assert not (found & ~np.array(wanted)).any()
    assert found.sum() >= 0.95 * sum(wanted)
    assert 100 < sum(wanted) < 350


def test_the_order_of_the_texts_changes_nothing() -> None:
    rng = random.Random(5)
    texts = [sentence(rng) for _ in range(60)]
    texts += [edited(rng.choice(texts), rng) for _ in range(60)]
    expected = partition(near_clusters(texts), texts)
    shuffled = rng.sample(texts, len(texts))
    assert partition(near_clusters(shuffled), shuffled) == expected


def test_every_process_finds_the_same() -> None:
    code = (
        "from tunesmith.data.comparing.near import near_clusters, _bands_of\nimport numpy as np\n"
        "print(near_clusters(['a b c d e f g h', 'a b c d e f g h i', 'x']).tolist())\n"
        "print(_bands_of(['hello world'], np.zeros(0, np.uint64), (2, 8)).tolist())"
    )
    runs = {
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ, "PYTHONHASHSEED": seed}
        ).stdout
        for seed in ("0", "1")
    }
    assert runs == {GOLDEN_RUN}


GOLDEN_RUN = "[0, 0, 2]\n[[402660507], [3863208417]]\n"


def test_a_template_around_all_texts_is_not_compared() -> None:
    rng = random.Random(7)
    around = "Below is an instruction that describes a task. Write a response that completes the request. ### Instruction: {} ### Response:"
    texts = [around.format(sentence(rng, 5)) for _ in range(150)]
    assert similarity(texts[0], texts[1]) > 0.5
    assert len(set(near_clusters(texts, threshold=0.5).tolist())) == 150
    assert len(common_shingles([normalise(text) for text in texts])) > 80
    alike = [*texts, texts[4].replace("Below", "Here")]
    assert near_clusters(alike)[-1] == 4


def test_two_sources_with_a_template_each() -> None:
    rng = random.Random(8)
    first = "Below is an instruction that describes a task. Write a response that completes the request. ### Instruction: {} ### Response:"
    second = "You are the assistant of a bank and answer politely, briefly and in the language of the customer, who says this: {}"
    texts = [template.format(sentence(rng, 3)) for template in (first, second) for _ in range(100)]
    assert similarity(texts[0], texts[1]) > 0.6
    assert len(set(near_clusters(texts, threshold=0.6).tolist())) == 200


def test_one_huge_bucket_stays_cheap_and_whole() -> None:
    """Twelve hundred copies with small edits are one cluster, and unlike texts of one bucket stay apart."""
    rng = random.Random(9)
    base = sentence(rng, 60)
    texts = [f"{base} {number}" for number in range(1200)]
    others = [sentence(rng) for _ in range(3000)]
    clusters = near_clusters(texts + others)
    assert set(clusters[:1200].tolist()) == {0}
    assert len(set(clusters[1200:].tolist())) == 3000


def test_texts_may_wait_in_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(11)
    texts = [sentence(rng) for _ in range(50)]
    texts += [edited(text, rng) for text in texts]
    expected = near_clusters(texts).tolist()
    monkeypatch.setattr(near, "IN_MEMORY_BYTES", 100)
    monkeypatch.setattr(near, "BATCH_CHARACTERS", 500)
    assert near_clusters(texts).tolist() == expected


def test_the_bands_suit_the_threshold() -> None:
    assert band_shape(0.8) == (20, 8)
    for threshold in (0.3, 0.5, 0.7, 0.9, 1.0):
        bands, rows = band_shape(threshold)
        assert bands * rows <= near.NUM_MINIMA
        assert 1 - (1 - threshold**rows) ** bands >= near.WANTED_RECALL


def test_an_index_finds_what_is_near() -> None:
    with NearIndex() as index:
        index.add(["How do I enable it?", "What does it cost?", "how do I enable it"])
        assert index.query("How do I enable it").tolist() == [0, 2]
        assert index.query("How do I disable it").tolist() == []
        assert index.query("").tolist() == []
        index.add(["", "How do I disable it?"])
        assert index.query("How do I disable it").tolist() == [4]
        assert [tuple(one) for one in index.matches(["what does it cost", "nothing", "how do i disable it"])] == [(0, 1, 1.0), (2, 4, 1.0)]
        assert len(index) == 5


def test_an_index_agrees_with_comparing_everything() -> None:
    rng = random.Random(13)
    added = [sentence(rng) for _ in range(200)]
    asked = [edited(text, rng) for text in added[:100]]
    expected = {(i, j) for i, one in enumerate(asked) for j, other in enumerate(added) if similarity(one, other) >= 0.8}
    with NearIndex() as index:
        index.add(added[:50])
        index.add(added[50:])
        found = {(match.query, match.position) for match in index.matches(asked)}
    assert found <= expected
    assert len(found) >= 0.97 * len(expected) > 80


def test_an_empty_index_has_nothing() -> None:
    with NearIndex() as index:
        assert index.query("anything").tolist() == []
        index.add([])
        assert index.matches(["anything"]) == []


def test_the_duplicate_questions_of_lamini_docs(shared_data: Path) -> None:
    file = shared_data / "sft" / "lamini_docs.jsonl"
    questions = [json.loads(line)["question"] for line in file.read_text(encoding="utf-8").splitlines()]
    clusters = near_clusters(questions)
    again = {normalise(questions[position]) for position in np.flatnonzero(clusters != np.arange(len(clusters)))}
    assert {"how much do i have to pay", "how much does it cost", "is lamini free"} <= again
    assert len(again) < 40


def test_a_template_may_be_known() -> None:
    """What is left out is not compared, whether it was looked for or not."""
    template = "Answer the question of the customer of our shop as well as you can: "
    with near.TextStore() as store:
        store.extend([template + "How do I enable it?", template + "What does it cost?", template + "what does it cost"])
        assert store.clusters(0.5).tolist() == [0, 0, 0]
        assert store.clusters(0.5, shingle_set(normalise(template))).tolist() == [0, 1, 1]
