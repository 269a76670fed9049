"""The one renderer: examples to token ids, and completions back to text.

Training, generation, evaluation and serving all call it, so a prompt's tokens are the same everywhere by construction:
a training example *is* the prompt's tokens followed by the answer's tokens and the end-of-turn token.

    renderer = Renderer.for_model(tokenizer, "auto")
    renderer.render(example).token_ids[:n] == renderer.prompt_ids(example.prompt_messages)   # always
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, NamedTuple

from tunesmith.errors import DataError
from tunesmith.render.encoder import Encoder
from tunesmith.render.templates import (
    END_OF_TURN,
    ChatTemplate,
    Piece,
    Template,
    end_of_text,
    identity_digest_input,
    resolve_template,
    template_from_identity,
)
from tunesmith.types import Example, Message, RenderedExample

RENDERER_VERSION = 1
"""Part of the fingerprint: raised when the same template and tokenizer would give other tokens."""


_PromptKey = tuple[tuple[Message, ...], tuple[tuple[str, str], ...]]


class Tokens(NamedTuple):
    """Token ids and, in step with them, which ones are supervised."""

    ids: tuple[int, ...]
    supervised: tuple[bool, ...]


@dataclass(frozen=True)
class Renderer:
    """A template and a tokenizer, bound together."""

    tokenizer: Any
    template: Template
    extra_stop_ids: frozenset[int] = frozenset()
    """Ids besides the end-of-turn and EOS tokens at which generation stops (the model's generation config)."""

    @classmethod
    def for_model(cls, tokenizer: Any, template: str, stop_ids: Iterable[int] = ()) -> Renderer:
        """Bind a template by name (`auto`, `chat`, `qa`, `alpaca`) or by file."""
        return cls(tokenizer, resolve_template(template, tokenizer), frozenset(stop_ids))

    @classmethod
    def from_record(cls, tokenizer: Any, record: Mapping[str, Any]) -> Renderer:
        """Rebuild the renderer a run stored, template text included."""
        return cls(tokenizer, template_from_identity(record["template"], tokenizer), frozenset(record["stop_ids"]))

    def record(self) -> dict[str, Any]:
        """What a run keeps so that `from_record` gives the same tokens again."""
        return {"template": self.template.identity(), "stop_ids": sorted(self.stop_ids), "fingerprint": self.fingerprint}

    @cached_property
    def bos_id(self) -> int | None:
        """The token that starts every sequence, None where the tokenizer adds none of itself."""
        first = self.tokenizer("x").input_ids[:1]
        return self.tokenizer.bos_token_id if first == [self.tokenizer.bos_token_id] else None

    @cached_property
    def encoder(self) -> Encoder:
        """The tokenizer, asked for ids alone."""
        return Encoder(self.tokenizer)

    @cached_property
    def end_of_turn_id(self) -> int:
        """The token that ends a completion."""
        if isinstance(self.template, ChatTemplate):
            return int(self.tokenizer.convert_tokens_to_ids(self.template.end_of_turn))
        return int(self.tokenizer.convert_tokens_to_ids(end_of_text(self.tokenizer)))

    @cached_property
    def end_of_turn(self) -> str:
        """Its text."""
        return self.decode([self.end_of_turn_id])

    @cached_property
    def stop_ids(self) -> frozenset[int]:
        """Generation stops at any of these."""
        eos_id = self.tokenizer.eos_token_id
        return self.extra_stop_ids | {self.end_of_turn_id} | (set() if eos_id is None else {int(eos_id)})

    @cached_property
    def fingerprint(self) -> str:
        """Equal fingerprints render equally: template, vocabulary, merges, normaliser, special ids."""
        backend = self.tokenizer.backend_tokenizer
        backend.no_truncation()  # some tokenizer files ask for these; no call of ours does
        backend.no_padding()
        parts = (
            str(RENDERER_VERSION),
            identity_digest_input(self.template.identity()),
            backend.to_str(),
            str((self.bos_id, self.end_of_turn_id, sorted(self.stop_ids))),
        )
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]

    def render(self, example: Example) -> RenderedExample:
        """Tokens of the whole example; nothing is cut.

        Of a preference pair these are the chosen answer's (`render(example.swapped())` gives the rejected one's). A preference
        is about the last answer, so where there is one, earlier answers belong to the prompt and are not supervised.
        """
        tokens = self._encode(self._pieces(example))
        supervised = tokens.supervised
        if example.kind in ("pair", "judged"):
            num_prompt = len(self.prompt_ids(example.prompt_messages, example.fields))
            supervised = (False,) * num_prompt + supervised[num_prompt:]
        return RenderedExample(example=example, token_ids=tokens.ids, supervised=supervised)

    def prompt_ids(self, messages: Sequence[Message], fields: Mapping[str, str] | None = None) -> tuple[int, ...]:
        """Tokens up to where the model answers."""
        return self._encode(self._prompt_pieces(messages, fields or {})).ids

    def text_prompt_ids(self, text: str) -> tuple[int, ...]:
        """Tokens of a text to be continued as it stands (models tuned on raw text)."""
        return self._encode([Piece(text=text)]).ids

    def parse(self, token_ids: Sequence[int]) -> str:
        """Text of a completion, without the end-of-turn token and what may follow it."""
        stop = next((i for i, token in enumerate(token_ids) if token in self.stop_ids), len(token_ids))
        return self.decode(token_ids[:stop])

    def decode(self, token_ids: Sequence[int]) -> str:
        """Text of token ids as they are, special tokens shown."""
        # By the compiled part at once: transformers first looks at the type of every id, which takes longer than decoding.
        text: str = self.tokenizer.backend_tokenizer.decode(list(token_ids), skip_special_tokens=False)
        return text

    def fit(self, example: Example, max_length: int) -> RenderedExample:
        """Render into at most `max_length` tokens by cutting the end of the longest prompt text; the answer stays whole.

        The prompt of a preference pair is cut until its longer answer fits too: both ways round it is the same prompt.

        Raises:
            DataError: the answer and the template alone are longer.
        """
        whole = self.render(example)
        num_tokens = self._longer_side(example)
        if num_tokens <= max_length:
            return whole
        cut = _longest_cut(example, lambda candidate: self._longer_side(candidate) <= max_length)
        if cut is None:
            raise DataError(
                example.source,
                f"{num_tokens} tokens, and the answer alone does not fit",
                expected=f"at most {max_length}",
                remedy="shorten the answer, raise --max-length, or leave such examples out with --over-length drop",
            )
        fitted = self.render(cut)
        num_cut = len(whole.token_ids) - len(fitted.token_ids)
        return dataclasses.replace(fitted, example=example, num_cut_tokens=num_cut)

    def _longer_side(self, example: Example) -> int:
        """Tokens of the example; of a preference pair those with its longer answer."""
        sides = (example,) if example.rejected is None else (example, example.swapped())
        return max(len(self.render(side).token_ids) for side in sides)

    def fit_prompt(self, messages: Sequence[Message], fields: Mapping[str, str] | None, max_tokens: int, *, place: str) -> tuple[int, ...]:
        """Like `prompt_ids`, cut in the same way as training cuts, so that it fits `max_tokens`."""
        ids = self.prompt_ids(messages, fields)
        if len(ids) <= max_tokens:
            return ids
        probe = Example(id="", source=place, group="", messages=(*messages, Message(role="assistant", content="")), fields=fields or {})
        cut = _longest_cut(probe, lambda candidate: len(self.prompt_ids(candidate.prompt_messages, candidate.fields)) <= max_tokens)
        if cut is None:
            remedy = "raise --max-prompt-tokens, or lower --max-new-tokens to leave it more of the context"
            raise DataError(place, f"a prompt of {len(ids)} tokens", expected=f"at most {max_tokens}", remedy=remedy)
        return self.prompt_ids(cut.prompt_messages, cut.fields)

    @contextmanager
    def remembering(self, examples: Sequence[Example]) -> Iterator[None]:
        """Fill the template of every example once and encode all texts together; both are known within the block."""
        sides = [side for one in examples for side in ((one,) if one.rejected is None else (one, one.swapped()))]
        try:
            for one in examples:
                key = _key(one.prompt_messages, one.fields)
                if one.text is None and key not in self._known_prompts:
                    self._known_prompts[key] = self.template.prompt_pieces(one.prompt_messages, one.fields)
            with self.encoder.remembering(piece for one in sides for piece in self._pieces(one)):
                yield
        finally:
            self._known_prompts.clear()

    def _pieces(self, example: Example) -> list[Piece]:
        """What the example is put together from."""
        if example.text is not None:
            text = Piece(text=example.text, supervised=True)
            return [text] if example.unfinished else [text, END_OF_TURN]
        prompt = self._prompt_pieces(example.prompt_messages, example.fields)
        return [*prompt, Piece(text=example.reference, supervised=True), END_OF_TURN]

    def _prompt_pieces(self, messages: Sequence[Message], fields: Mapping[str, str]) -> list[Piece]:
        known = self._known_prompts.get(_key(messages, fields)) if self._known_prompts else None
        return self.template.prompt_pieces(messages, fields) if known is None else known

    @cached_property
    def _known_prompts(self) -> dict[_PromptKey, list[Piece]]:
        """Filled templates; empty but within `remembering`."""
        return {}

    def _encode(self, pieces: Sequence[Piece]) -> Tokens:
        """Encode each piece by itself: what one piece is never changes another one's tokens."""
        ids: list[int] = []
        supervised: list[bool] = []
        if self.bos_id is not None and not self._writes_bos(pieces):
            ids, supervised = [self.bos_id], [False]
        for index, piece in enumerate(pieces):
            new = [self.end_of_turn_id] if piece is END_OF_TURN else self._encode_text(piece, continues=index > 0)
            ids += new
            supervised += [piece.supervised] * len(new)
        return Tokens(tuple(ids), tuple(supervised))

    def _writes_bos(self, pieces: Sequence[Piece]) -> bool:
        return bool(pieces) and not pieces[0].literal and pieces[0].text.startswith(self.tokenizer.bos_token)

    def _encode_text(self, piece: Piece, *, continues: bool) -> list[int]:
        encode = partial(self.encoder, literal=piece.literal)
        if continues and self._prepends_space:
            # Llama-2-like tokenizers put a space before whatever they are given; after other text they do not.
            for before in "\n|0a":
                start, whole = encode(before), encode(before + piece.text)
                if whole[: len(start)] == start:  # else the two grew together into one token
                    return whole[len(start) :]
        return encode(piece.text)

    @cached_property
    def _prepends_space(self) -> bool:
        ids = [*self.tokenizer("x", add_special_tokens=False).input_ids, *self.tokenizer("y", add_special_tokens=False).input_ids]
        return self.decode(ids).strip() != "xy"


def _key(messages: Sequence[Message], fields: Mapping[str, str]) -> _PromptKey:
    return tuple(messages), tuple(fields.items())


def _longest_cut(example: Example, fits: Callable[[Example], bool]) -> Example | None:
    """Keep as many characters of the longest prompt text as still fit; None when not even one does."""
    length = len(_longest_text(example))
    low, high = 0, length  # the first `low` characters fit (or low is 0); the first `high` do not
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(_shortened(example, middle)) else (low, middle)
    return _shortened(example, low) if low else None


def _longest_text(example: Example) -> str:
    texts = [m.content for m in example.prompt_messages if m.role == "user"] or [""]
    return max(example.fields.values() if example.fields else texts, key=len)


def _shortened(example: Example, length: int) -> Example:
    longest = _longest_text(example)
    if example.fields:
        name = next(key for key, value in example.fields.items() if value == longest)
        fields = {**example.fields, name: longest[:length]}
        content = "\n\n".join(value for value in fields.values() if value)
        last = max(i for i, m in enumerate(example.messages) if m.role == "user")
        messages = tuple(dataclasses.replace(m, content=content) if i == last else m for i, m in enumerate(example.messages))
        return dataclasses.replace(example, fields=fields, messages=messages)
    index = next(i for i, m in enumerate(example.messages) if m.role == "user" and m.content == longest)
    message = dataclasses.replace(example.messages[index], content=longest[:length])
    return dataclasses.replace(example, messages=(*example.messages[:index], message, *example.messages[index + 1 :]))
