"""Log-likelihoods of continuations given contexts: what multiple-choice benchmarks and perplexities are made of.

>>> ask = LikelihoodRequest(context_ids=(1, 5, 9), continuation_ids=(7, 2))
>>> log_likelihoods(network, [ask], context_length=2048)
[Likelihood(log_probability=-7.31, is_greedy=False, num_tokens=2, …)]

The last token of a request is never an input, so the letters A to D after one question are one sequence, asked four times.
What different sequences begin with (a question before its endings, worked examples before every question) is computed
once in a pack, and logits exist only where a continuation's token is predicted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedModel

from tunesmith.distributed.group import current_group
from tunesmith.engine.attention import attending_by_segments, can_share
from tunesmith.engine.dealing import plan_own_packs
from tunesmith.engine.forward import decoder_hidden
from tunesmith.engine.kernels import argmax, cross_entropy_
from tunesmith.engine.loss import CHUNK_BYTES
from tunesmith.engine.packed_weights import PackedWeights
from tunesmith.engine.packing import ROUND_TO, Pack, bare, build_pack
from tunesmith.errors import DataError

TOKENS_PER_PACK = 8192
"""More than training takes: without gradients only one layer's activations live at a time, and every further pack computes
what its sequences begin with once more. Five worked examples of 800 tokens are a tenth of 8,192 tokens, two fifths of 2,048."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LikelihoodRequest:
    """How likely is `continuation_ids` after `context_ids`? Neither is empty."""

    context_ids: tuple[int, ...]
    continuation_ids: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Likelihood:
    """The answer to one request."""

    log_probability: float
    """Nats, summed over the continuation's tokens."""
    is_greedy: bool
    """Each token of the continuation is the likeliest one where it stands."""
    num_tokens: int
    """Tokens of the continuation."""
    num_cut_tokens: int = 0
    """Tokens left out at the beginning of the context so that the request fits the model."""
    token_log_probabilities: tuple[float, ...] | None = None
    """Nats of each token, when asked for."""


@torch.no_grad()
def log_likelihoods(
    network: PreTrainedModel,
    requests: Sequence[LikelihoodRequest],
    *,
    context_length: int,
    tokens_per_pack: int = TOKENS_PER_PACK,
    per_token: bool = False,
    on_progress: Callable[[int], None] | None = None,
) -> list[Likelihood]:
    """Answer every request, in the order given; the same request twice is computed once. Ranks of a group share the work.

    Args:
        context_length: most tokens the model reads; longer requests lose the beginning of their context.
        tokens_per_pack: most tokens in one forward pass; a longer sequence gets one of its own.
        per_token: keep the log-probability of every token.
        on_progress: called with the number of requests answered.

    Raises:
        DataError: a context or a continuation is empty, or a continuation is longer than the context length.
    """
    sequences = _gather(requests, context_length)
    # What is asked about a sequence does not lie in it, so nothing is supervised.
    examples = [bare(sequence.input_ids, supervised=False) for sequence in sequences]
    answers: dict[int, Likelihood] = {}
    group = current_group()
    packed = PackedWeights(network, num_tokens=sum(len(sequence.input_ids) for sequence in sequences) // group.size)
    with attending_by_segments(network), packed.on():
        share = can_share(network)
        for members in plan_own_packs([sequence.input_ids for sequence in sequences], tokens_per_pack, group, share=share):
            pack = build_pack(examples, members, network.device, share=share, round_to=ROUND_TO)
            for answer in _read_pack(network, packed, pack, sequences):
                for index in answer.requests:
                    answers[index] = _likelihood(answer, requests[index], context_length, per_token)
            if on_progress:
                on_progress(min(len(requests), len(answers) * group.size))
    everyones = group.gather_parts(answers)
    return [everyones[index] for index in range(len(requests))]


def rolling_log_likelihoods(
    network: PreTrainedModel,
    texts: Sequence[Sequence[int]],
    *,
    prefix_id: int,
    context_length: int,
    tokens_per_pack: int = TOKENS_PER_PACK,
    per_token: bool = False,
    on_progress: Callable[[int], None] | None = None,
) -> list[Likelihood]:
    """Log-likelihoods of whole texts of any length, each token predicted once (see `rolling_requests`).

    `on_progress` is called with the number of windows done. An empty text has log-likelihood 0.
    """
    windows = [rolling_requests(text, prefix_id=prefix_id, context_length=context_length) for text in texts]
    found = log_likelihoods(
        network,
        [request for requests in windows for request in requests],
        context_length=context_length,
        tokens_per_pack=tokens_per_pack,
        per_token=per_token,
        on_progress=on_progress,
    )
    answers = iter(found)
    return [_joined([next(answers) for _ in requests], per_token) for requests in windows]


def rolling_requests(token_ids: Sequence[int], *, prefix_id: int, context_length: int) -> list[LikelihoodRequest]:
    """Cut a text into windows in which every token is predicted once, the later ones from as much context as fits.

    The first window predicts `context_length` tokens, the first of them from `prefix_id`. Each further window predicts
    the next ones, and reaches back before them until the context is full: only the last can have to. The windows are those
    of lm-evaluation-harness (`get_rolling_token_windows` with `context_len=1`, made disjoint).
    """
    tokens = tuple(token_ids)
    requests = [LikelihoodRequest(context_ids=(prefix_id,), continuation_ids=tokens[:context_length])] if tokens else []
    for start in range(context_length, len(tokens), context_length):
        end = min(start + context_length, len(tokens))
        requests.append(LikelihoodRequest(context_ids=tokens[end - context_length - 1 : start], continuation_ids=tokens[start:end]))
    return requests


class _Sequence(NamedTuple):
    """What runs through the model, and who wants to know what about it."""

    input_ids: tuple[int, ...]
    """Context and continuation without the very last token."""
    requests: dict[tuple[int, ...], list[int]]
    """Each continuation asked for at the sequence's end, and the requests that ask."""


class _Answer(NamedTuple):
    requests: list[int]
    log_probabilities: list[float]
    is_greedy: bool


def _gather(requests: Sequence[LikelihoodRequest], context_length: int) -> list[_Sequence]:
    gathered: dict[tuple[int, ...], dict[tuple[int, ...], list[int]]] = {}
    for index, request in enumerate(requests):
        _check(request, index, context_length)
        input_ids = (request.context_ids + request.continuation_ids)[-(context_length + 1) : -1]
        gathered.setdefault(input_ids, {}).setdefault(request.continuation_ids, []).append(index)
    return [_Sequence(input_ids, asked) for input_ids, asked in gathered.items()]


def _check(request: LikelihoodRequest, index: int, context_length: int) -> None:
    place = f"request {index + 1}"
    if not request.context_ids:
        remedy = "let the context begin with the model's beginning-of-text token"
        raise DataError(place, "an empty context", expected="at least one token to predict from", remedy=remedy)
    length = len(request.continuation_ids)
    if not 0 < length <= context_length:
        remedy = "cut the continuation, or score it as a rolling text" if length else "leave the request out"
        raise DataError(place, f"a continuation of {length:,} tokens", expected=f"1 to {context_length:,}", remedy=remedy)


def _read_pack(network: PreTrainedModel, packed: PackedWeights, pack: Pack, sequences: Sequence[_Sequence]) -> Iterator[_Answer]:
    """Run the model over a pack and answer all that is asked about its sequences."""
    hidden = decoder_hidden(network, pack)  # (T, E)
    asked = [
        (places[-len(continuation) :], continuation, indices)
        for member, places in zip(pack.members, pack.places, strict=True)
        for continuation, indices in sequences[member].requests.items()
    ]
    # Siblings are predicted from the same place: its logits are computed once, and read several times.
    places, row_of_label = torch.cat([places for places, _, _ in asked]).unique(return_inverse=True)  # (P,), (M,)
    labels = torch.tensor([token for _, continuation, _ in asked for token in continuation], device=places.device)  # (M,)
    log_probabilities, is_top = _read_labels(hidden.index_select(0, places), packed, row_of_label, labels)
    nats, tops = iter(log_probabilities.tolist()), iter(is_top.tolist())
    for _, continuation, indices in asked:
        length = len(continuation)
        yield _Answer(indices, list(islice(nats, length)), all(list(islice(tops, length))))


def _read_labels(hidden: Tensor, packed: PackedWeights, row_of_label: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probabilities of the labels (M,), float32, and whether each is the likeliest token (M,).

    `hidden` (P, E), a row for each place that predicts; `row_of_label` (M,) says which of them predicts a label.
    """
    log_probabilities = torch.empty(len(labels), dtype=torch.float32, device=hidden.device)
    is_top = torch.empty(len(labels), dtype=torch.bool, device=hidden.device)
    size = max(1, CHUNK_BYTES // (hidden.element_size() * packed.vocab_size))
    for start in range(0, len(hidden), size):
        logits = packed.head_logits(hidden[start : start + size])  # (p, V)
        here = ((row_of_label >= start) & (row_of_label < start + size)).nonzero().squeeze(1)
        rows, wanted = row_of_label[here] - start, labels[here]
        top = argmax(logits)  # (p,)
        highest = logits.gather(1, top[:, None]).squeeze(1).float()
        found = logits[rows, wanted].float()
        normaliser = highest + cross_entropy_(logits, top, 1.0, False)  # overwrites the logits
        log_probabilities[here] = found - normaliser[rows]
        is_top[here] = top[rows] == wanted
    return log_probabilities, is_top


def _likelihood(answer: _Answer, request: LikelihoodRequest, context_length: int, per_token: bool) -> Likelihood:
    num_inputs = len(request.context_ids) + len(request.continuation_ids) - 1
    return Likelihood(
        log_probability=sum(answer.log_probabilities),
        is_greedy=answer.is_greedy,
        num_tokens=len(answer.log_probabilities),
        num_cut_tokens=max(0, num_inputs - context_length),
        token_log_probabilities=tuple(answer.log_probabilities) if per_token else None,
    )


def _joined(parts: Sequence[Likelihood], per_token: bool) -> Likelihood:
    return Likelihood(
        log_probability=sum(part.log_probability for part in parts),
        is_greedy=all(part.is_greedy for part in parts),
        num_tokens=sum(part.num_tokens for part in parts),
        token_log_probabilities=tuple(nats for part in parts for nats in part.token_log_probabilities or ()) if per_token else None,
    )
