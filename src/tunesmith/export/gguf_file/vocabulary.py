"""The tokenizer as llama.cpp keeps one, so that it splits text into the tokens that ours does.

Two kinds are known: byte-level BPE (`gpt2`), whose first cuts llama.cpp knows by name alone, and SentencePiece's (`llama`), which joins the
neighbours whose union scores best. Anything else is refused: llama.cpp would split some texts otherwise, and nobody would be told.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gguf import GGUFWriter, TokenType

from tunesmith.export.gguf_file.architectures import refused
from tunesmith.render.renderer import Renderer

_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
REGEXES: Mapping[str, str] = {
    _CONTRACTIONS + r"\p{N}{1,3}" + _REST: "llama-bpe",
    _CONTRACTIONS + r"\p{N}" + _REST: "qwen2",
}
"""First cuts of a tokenizer file -> llama.cpp's name for them (src/llama-vocab.cpp, `llm_tokenizer_bpe`)."""
WHOLE_WORDS = frozenset({"llama-bpe"})
"""Under these llama.cpp takes a word that is a token as it is, before any merge."""
SPACE = "\u2581"


@dataclass(frozen=True, kw_only=True, slots=True)
class Vocabulary:
    """Everything that llama.cpp needs to split text."""

    model: str
    pre: str
    tokens: tuple[str, ...]
    types: tuple[int, ...]
    merges: tuple[str, ...] = ()
    scores: tuple[float, ...] = ()
    adds_space: bool = False


def read_vocabulary(renderer: Renderer, num_rows: int) -> Vocabulary:
    """From the tokenizer and the number of rows of the embedding.

    Raises:
        ConfigError: llama.cpp has no tokenizer that does the same.
    """
    parts: dict[str, Any] = json.loads(renderer.tokenizer.backend_tokenizer.to_str())
    if parts["model"]["type"] != "BPE":
        raise refused(f"a tokenizer of type {parts['model']['type']}", "byte-level BPE or SentencePiece's BPE")
    if parts["model"].get("byte_fallback"):
        return _sentence_piece(renderer, parts, num_rows)
    return _byte_level(renderer, parts, num_rows)


def unlike_llama_cpp(renderer: Renderer) -> tuple[str, ...]:
    """Texts that llama.cpp splits otherwise, in sentences: it composes no letters, which Qwen's tokenizer does first (NFC)."""
    parts: dict[str, Any] = json.loads(renderer.tokenizer.backend_tokenizer.to_str())
    if (parts["normalizer"] or {}).get("type") != "NFC":
        return ()
    return ("the tokenizer composes letters and their marks first (Unicode's NFC), which llama.cpp does not: give it composed text",)


def _byte_level(renderer: Renderer, parts: Mapping[str, Any], num_rows: int) -> Vocabulary:
    pre = _first_cuts(parts)
    if bool(parts["model"].get("ignore_merges")) != (pre in WHOLE_WORDS):
        raise refused(f"first cuts as of {pre} with ignore_merges {parts['model'].get('ignore_merges')}", "the pair as published")
    tokens, types = _tokens(renderer, parts, num_rows)
    return Vocabulary(model="gpt2", pre=pre, tokens=tokens, types=types, merges=tuple(" ".join(_pair(m)) for m in parts["model"]["merges"]))


def _first_cuts(parts: Mapping[str, Any]) -> str:
    """llama.cpp's name of what a text is cut into before any merge; of NFC see `unlike_llama_cpp`."""
    normalizer, first = parts["normalizer"], parts["pre_tokenizer"]
    if normalizer is not None and normalizer["type"] != "NFC":
        raise refused(f"a tokenizer with the normaliser {normalizer['type']}", "none")
    steps = first["pretokenizers"] if first and first["type"] == "Sequence" else [first]
    kinds = [step["type"] if step else None for step in steps]
    if kinds[-1] != "ByteLevel" or steps[-1]["add_prefix_space"]:
        raise refused(f"a tokenizer that first cuts by {', '.join(map(str, kinds))}", "byte-level BPE without a space put in front")
    by_regex = steps[-1].get("use_regex", True)
    if kinds == ["ByteLevel"] and by_regex:
        return "gpt-2"
    if kinds == ["Digits", "ByteLevel"] and by_regex and steps[0]["individual_digits"]:
        return "smollm"
    regex: str | None = steps[0].get("pattern", {}).get("Regex") if kinds == ["Split", "ByteLevel"] and not by_regex else None
    if regex is not None and regex in REGEXES and steps[0]["behavior"] == "Isolated" and not steps[0]["invert"]:
        return REGEXES[regex]
    raise refused("a tokenizer whose first cuts llama.cpp has no name for", f"those of gpt-2, smollm, {', '.join(REGEXES.values())}")


def _sentence_piece(renderer: Renderer, parts: Mapping[str, Any], num_rows: int) -> Vocabulary:
    """A token's score is the place of the first merge that makes it, counted from the end: the earliest merge wins."""
    adds_space = _space_in_front(parts)
    tokens, types = _tokens(renderer, parts, num_rows)
    rank: dict[str, int] = {}
    for number, merge in enumerate(parts["model"]["merges"]):
        rank.setdefault("".join(_pair(merge)), number)
    last = len(parts["model"]["merges"])
    scores = tuple(-float(rank.get(token, last)) for token in tokens)
    return Vocabulary(model="llama", pre="default", tokens=tokens, types=types, scores=scores, adds_space=adds_space)


def _space_in_front(parts: Mapping[str, Any]) -> bool:
    """Whether a text is given a space in front (Llama 2, Mistral); Gemma gives none."""
    normalizer, first = parts["normalizer"], parts["pre_tokenizer"]
    steps = normalizer["normalizers"] if normalizer and normalizer["type"] == "Sequence" else [normalizer]
    if any(step is None or step["type"] not in ("Prepend", "Replace") for step in steps):
        if first and first["type"] == "Metaspace" and normalizer is None:
            return bool(first.get("prepend_scheme", "always") != "never")
        raise refused("a SentencePiece tokenizer with a normaliser of its own", "spaces replaced, nothing else")
    return any(step["type"] == "Prepend" for step in steps)


def _tokens(renderer: Renderer, parts: Mapping[str, Any], num_rows: int) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Text and type of each row of the embedding; rows without a token are unused ones."""
    by_id = {id_: token for token, id_ in renderer.tokenizer.get_vocab().items()}
    if by_id and max(by_id) >= num_rows:
        raise refused(f"token ids up to {max(by_id):,}", f"ids below the embedding's {num_rows:,} rows")
    added = {token["id"]: token for token in parts["added_tokens"]}
    unknown = parts["model"].get("unk_token") if parts["model"].get("byte_fallback") else None
    types = []
    for id_ in range(num_rows):
        token = by_id.get(id_)
        if token is None:
            types.append(TokenType.UNUSED)
        elif token == unknown:
            types.append(TokenType.UNKNOWN)
        elif id_ in added:
            types.append(TokenType.CONTROL if added[id_]["special"] else TokenType.USER_DEFINED)
        elif unknown and len(token) == 6 and token.startswith("<0x") and token.endswith(">"):
            types.append(TokenType.BYTE)
        else:
            types.append(TokenType.NORMAL)
    return tuple(by_id.get(id_, f"[PAD{id_}]") for id_ in range(num_rows)), tuple(int(one) for one in types)


def _pair(merge: Any) -> tuple[str, str]:
    """Newer tokenizer files keep pairs, older ones a text with a space between."""
    first, second = merge.split(" ") if isinstance(merge, str) else merge
    return first, second


def add_vocabulary(writer: GGUFWriter, renderer: Renderer, vocabulary: Vocabulary, chat_template: str | None) -> None:
    """Write it, with the special ids and whether BOS is put first."""
    tokenizer = renderer.tokenizer
    writer.add_tokenizer_model(vocabulary.model)
    writer.add_tokenizer_pre(vocabulary.pre)
    writer.add_token_list(list(vocabulary.tokens))
    writer.add_token_types(list(vocabulary.types))
    if vocabulary.merges:
        writer.add_token_merges(list(vocabulary.merges))
    if vocabulary.scores:
        writer.add_token_scores(list(vocabulary.scores))
        writer.add_add_space_prefix(vocabulary.adds_space)
    if tokenizer.bos_token_id is not None:
        writer.add_bos_token_id(tokenizer.bos_token_id)
    writer.add_eos_token_id(tokenizer.eos_token_id)
    if renderer.end_of_turn_id != tokenizer.eos_token_id:
        writer.add_eot_token_id(renderer.end_of_turn_id)
    if tokenizer.unk_token_id is not None:
        writer.add_unk_token_id(tokenizer.unk_token_id)
    if tokenizer.pad_token_id is not None:
        writer.add_pad_token_id(tokenizer.pad_token_id)
    writer.add_add_bos_token(renderer.bos_id is not None)
    writer.add_add_eos_token(False)
    if chat_template:
        writer.add_chat_template(chat_template)
