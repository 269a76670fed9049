"""The network over new prompts, packed, and running sequences: nothing padded, no cache copied.

Where a step can be written out (direct_step.py), prompts are a call, and running sequences of whichever adapters are another.
Elsewhere there is a call for each adapter that has sequences under way, of its prompts and running sequences together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedModel

from tunesmith.engine.generation.adapter_switch import AdapterSwitch
from tunesmith.engine.generation.direct_step import DirectStep, adapter_rows, can_step_directly
from tunesmith.engine.generation.sequences import Running
from tunesmith.engine.generation.slots import Decoding, Prompts, SeenCalls, SlotAttention, SlotCache, Step
from tunesmith.engine.packed_weights import PackedWeights
from tunesmith.engine.packing import ROUND_TO, bare, build_pack, plan_packs


class SlotRunner:
    """Every sequence has a slot of the cache; those in use stay together at its beginning."""

    def __init__(self, network: PreTrainedModel, switch: AdapterSwitch | None = None, *, num_slots: int, tokens_per_pack: int) -> None:
        self._network = network
        self._switch = switch or AdapterSwitch(network)
        self._decoder = network.get_decoder()
        self._attention = SlotAttention(network)
        self._tokens_per_pack = tokens_per_pack
        self._cache = SlotCache(num_slots)
        self._packed = PackedWeights(network)
        self._direct = DirectStep(network, self._packed.groups) if can_step_directly(network) else None
        """None: running sequences take the model's own forward."""
        self._occupants: list[Running | None] = []
        self.seen: SeenCalls | None = None
        """Collects layer and sliding window of every attention call, when there is a list."""

    def admit(self, waiting: Sequence[Running], running: Sequence[Running]) -> list[Running]:
        """The first in line, and those of its adapter that share a pack with it."""
        free = self._cache.num_slots - len(running)
        candidates = [one for one in waiting[:free] if one.adapter == waiting[0].adapter]
        if not candidates:
            return []
        packs = plan_packs([one.prompt_ids for one in candidates], self._tokens_per_pack)
        return [candidates[index] for index in next(pack for pack in packs if 0 in pack)]

    def release(self, gone: Running) -> None:
        """Its slot is the next one's."""
        self._occupants = [None if one is gone else one for one in self._occupants]

    def logits(self, entering: Sequence[Running], running: Sequence[Running]) -> Tensor:
        """(E + R, V) for the next token of each."""
        self._settle(entering)
        under_way = [*entering, *running]
        slot_of = {one.id: slot for slot, one in enumerate(self._occupants) if one is not None}
        self._cache.reserve(
            max(one.num_tokens for one in under_way),
            likely=max(one.most_tokens for one in under_way),
            kept={slot_of[one.id]: one.num_tokens - 1 for one in running},
        )
        parts = self._parts(entering, running)
        with self._packed.on():
            hidden = [self._directly(part, slot_of) if part.is_direct else self._by_itself(part, slot_of) for part in parts]
            return self._head_logits(hidden[0] if len(parts) == 1 else torch.cat(hidden), parts, under_way)

    def _parts(self, entering: Sequence[Running], running: Sequence[Running]) -> list[_Part]:
        """Calls that together advance everything: prompts come first, and what goes directly last."""
        groups = _by_adapter(running)
        direct = [] if self._direct is None else [group for group in groups.items() if self._direct.serves(group[0])]
        for adapter, _ in direct:
            del groups[adapter]
        parts = []
        if entering:
            parts.append(_Part(entering, [(entering[0].adapter, groups.pop(entering[0].adapter, []))]))
        parts += [_Part((), [group]) for group in groups.items()]
        return [*parts, _Part((), direct, is_direct=True)] if direct else parts

    def _by_itself(self, part: _Part, slot_of: Mapping[int, int]) -> Tensor:
        """(n, E) hidden states by the model's own forward, for prompts and sequences of one adapter."""
        ((adapter, running),) = part.groups
        device = self._network.device
        calls = [_prefill_call(self._cache, part.entering, slot_of, device, self.seen)] if part.entering else []
        if running:
            calls.append(_decode_call(self._cache, running, slot_of, device, self.seen))
        call = calls[0] if len(calls) == 1 else _joined(*calls)
        if device.type == "cpu":
            call = _rounded(call)
        with self._attention.on(), self._switch.to(adapter):
            hidden: Tensor = self._decoder(
                input_ids=call.token_ids[None], position_ids=call.position_ids[None], use_cache=False, slots=call.step
            ).last_hidden_state  # (1, T, E)
        return hidden[0].index_select(0, call.last)

    def _directly(self, part: _Part, slot_of: Mapping[int, int]) -> Tensor:
        """The same for running sequences, in fewer words and for all adapters at once."""
        assert self._direct is not None
        call = _decode_call(self._cache, part.sequences, slot_of, self._network.device, self.seen)
        count, multiple = len(call.last), 1
        if not self._direct.takes_any_rows:
            call, multiple = _rounded(call), ROUND_TO // 4
        adapters = adapter_rows([(adapter, len(group)) for adapter, group in part.groups], len(call.token_ids), multiple)
        return self._direct.hidden(call.token_ids, call.position_ids, call.step, adapters)[:count]

    def _head_logits(self, hidden: Tensor, parts: Sequence[_Part], under_way: Sequence[Running]) -> Tensor:
        """(n, V) in the order of `under_way` of hidden states (n, E) in the order of `parts`."""
        count = len(under_way)
        order = under_way if len(parts) == 1 and not parts[0].is_mixed else [one for part in parts for one in part.sequences]
        if order != under_way:
            row_of = {one.id: row for row, one in enumerate(order)}
            hidden = hidden.index_select(0, torch.tensor([row_of[one.id] for one in under_way], device=hidden.device))
        if self._network.device.type == "cpu" and not (self._direct is not None and self._direct.takes_any_rows):
            hidden = _filled_up(hidden)
        return self._packed.head_logits(hidden)[:count]

    def _settle(self, entering: Sequence[Running]) -> None:
        """Put the entering into holes, and the last of the others into holes that remain."""
        arriving = list(entering)
        for slot, one in enumerate(self._occupants):
            if one is None and arriving:
                self._occupants[slot] = arriving.pop()
        self._occupants += arriving
        for slot in range(len(self._occupants)):
            while self._occupants and self._occupants[-1] is None:
                self._occupants.pop()
            if slot < len(self._occupants) and self._occupants[slot] is None:
                last = self._occupants.pop()
                assert last is not None
                self._cache.move(len(self._occupants), slot, last.num_tokens)
                self._occupants[slot] = last


class _Part(NamedTuple):
    """What one call computes: prompts that enter, and running sequences by adapter."""

    entering: Sequence[Running]
    groups: Sequence[tuple[str | None, list[Running]]]
    """Of one adapter, that of the prompts, unless it is direct."""
    is_direct: bool = False

    @property
    def is_mixed(self) -> bool:
        return len(self.groups) > 1

    @property
    def sequences(self) -> list[Running]:
        """In the order of the call."""
        return [*self.entering, *(one for _, group in self.groups for one in group)]


def _by_adapter(running: Sequence[Running]) -> dict[str | None, list[Running]]:
    groups: dict[str | None, list[Running]] = {}
    for one in running:
        groups.setdefault(one.adapter, []).append(one)
    return groups


class _Call(NamedTuple):
    """One call of the model: T tokens."""

    token_ids: Tensor  # (T,)
    position_ids: Tensor  # (T,)
    last: Tensor
    """(n,) each sequence's last token, after which comes a new one."""
    step: Step


def _rounded(call: _Call) -> _Call:
    """Filled up with tokens that nothing looks at: every new number of rows costs a CPU the compilation of its products."""
    return call._replace(token_ids=_filled_up(call.token_ids), position_ids=_filled_up(call.position_ids))


def _filled_up(rows: Tensor) -> Tensor:
    """(T, …) with zeros behind."""
    missing = -len(rows) % _multiple(len(rows))
    return torch.cat([rows, rows.new_zeros(missing, *rows.shape[1:])]) if missing else rows


def _multiple(num_rows: int) -> int:
    """Of which a number of rows is to be: a few per cent more rows, for few different numbers."""
    return ROUND_TO if num_rows > 2 * ROUND_TO else ROUND_TO // 4


def _decode_call(
    cache: SlotCache, running: Sequence[Running], slot_of: Mapping[int, int], device: torch.device, seen: SeenCalls | None
) -> _Call:
    lengths = [one.num_tokens for one in running]
    token_ids, ends, slots = torch.tensor([[one.last_token for one in running], lengths, [slot_of[one.id] for one in running]]).to(device)
    positions = ends - 1
    decoding = Decoding(slots=slots, lengths=ends, num_rows=len(slot_of), longest=max(lengths))
    every = torch.arange(len(running), device=device)
    step = Step(cache=cache, prompts=None, decoding=decoding, source=every, slots=slots, positions=positions, seen=seen)
    return _Call(token_ids, positions, every, step)


def _prefill_call(
    cache: SlotCache, entering: Sequence[Running], slot_of: Mapping[int, int], device: torch.device, seen: SeenCalls | None
) -> _Call:
    prompts = [bare(one.prompt_ids, supervised=False) for one in entering]
    pack = build_pack(prompts, range(len(prompts)), device)
    places = [place for _, place in sorted(zip(pack.members, pack.places, strict=True), key=lambda pair: pair[0])]
    lengths = torch.tensor([len(place) for place in places], device=device)
    slots = torch.tensor([slot_of[one.id] for one in entering], device=device).repeat_interleave(lengths)
    source = torch.cat(places)
    step = Step(
        cache=cache,
        prompts=Prompts(pack.num_tokens, pack.segments),
        decoding=None,
        source=source,
        slots=slots,
        positions=pack.position_ids[0].index_select(0, source),
        seen=seen,
    )
    return _Call(pack.token_ids[0], pack.position_ids[0], torch.stack([place[-1] for place in places]), step)


def _joined(prefill: _Call, decode: _Call) -> _Call:
    """Prompts first, then the running sequences' tokens."""
    first, second = prefill.step, decode.step
    assert first.prompts is not None
    behind = decode.last + first.prompts.num_tokens
    step = Step(
        cache=first.cache,
        prompts=first.prompts,
        decoding=second.decoding,
        source=torch.cat([first.source, behind]),
        slots=torch.cat([first.slots, second.slots]),
        positions=torch.cat([first.positions, second.positions]),
        seen=first.seen,
    )
    token_ids, position_ids = (
        torch.cat(pair) for pair in ((prefill.token_ids, decode.token_ids), (prefill.position_ids, decode.position_ids))
    )
    return _Call(token_ids, position_ids, torch.cat([prefill.last, behind]), step)
