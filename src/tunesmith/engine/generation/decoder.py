"""Continuous batching: requests come at any time, every step gives each running sequence a token, a finished one leaves.

Requests bring what belongs to their model: the adapter, where it stops, how its tokens become text.

>>> decoder = Decoder(network, context_length=2048, batch_size=16)
>>> number = decoder.submit(Request(prompt_ids=ids, config=GenerateConfig(), stop_ids=stop_ids, adapter="adapter-1"))
>>> while not decoder.is_idle:
...     for new in decoder.step():
...         print(new.prompt, new.token, new.finish_reason)
"""

from __future__ import annotations

import torch
from transformers import PreTrainedModel

from tunesmith.engine.generation.adapter_switch import AdapterSwitch
from tunesmith.engine.generation.padded_runner import PaddedRunner
from tunesmith.engine.generation.sampling import Sampler, choose, log_probabilities
from tunesmith.engine.generation.sequences import NewToken, Request, Runner, Running
from tunesmith.engine.generation.slot_parity import why_not_in_slots
from tunesmith.engine.generation.slot_runner import SlotRunner
from tunesmith.engine.generation.text_stream import TextStream
from tunesmith.errors import DataError

TOKENS_PER_PACK = {"cpu": 1024, "cuda": 8192}
"""Most prompt tokens in one call of the model, by device. A longer prompt comes in a call of its own."""


class Decoder:
    """Up to `batch_size` sequences at a time on one network. Not for several threads at once.

    The tokens of a sequence depend neither on what runs beside it, under whichever adapter, nor on when it came. Adapters and weights
    have to be final when this is made.
    """

    def __init__(
        self,
        network: PreTrainedModel,
        *,
        context_length: int,
        batch_size: int = 32,
        tokens_per_pack: int | None = None,
    ) -> None:
        """See the class.

        Args:
            network: in evaluation mode, the adapters inside its layers.
            context_length: most tokens of prompt and completion together.
            batch_size: most sequences decoded together.
            tokens_per_pack: most prompt tokens in one call of the model; None chooses by device.
        """
        self._context_length = context_length
        self._waiting: list[Running] = []
        self._running: list[Running] = []
        self._num_submitted = 0
        self._in_step: list[Running] = []
        self._switch = AdapterSwitch(network)
        self.why_padded = why_not_in_slots(network)
        """Empty, or why this network is decoded in padded batches: a new sequence then waits for the whole batch before it."""
        if self.why_padded:
            self._runner: Runner = PaddedRunner(network, self._switch, batch_size=batch_size, context_length=context_length)
        else:
            limit = tokens_per_pack or TOKENS_PER_PACK.get(network.device.type, TOKENS_PER_PACK["cpu"])
            self._runner = SlotRunner(network, self._switch, num_slots=batch_size, tokens_per_pack=limit)

    @property
    def num_waiting(self) -> int:
        return len(self._waiting)

    @property
    def num_running(self) -> int:
        return len(self._running)

    @property
    def numbers_in_step(self) -> list[int]:
        """Sequences of the latest step; should it raise, those it was for."""
        return [one.id for one in self._in_step]

    @property
    def is_idle(self) -> bool:
        """Nothing is left to do."""
        return not (self._waiting or self._running)

    def submit(self, request: Request) -> int:
        """Queue a request; first come, first served. Returns the number its tokens carry.

        Raises:
            DataError: the prompt is empty, or leaves no room in the context.
            ConfigError: there is no such adapter.
        """
        self._switch.require(request.adapter)
        number, config, length = self._num_submitted, request.config, len(request.prompt_ids)
        if not 0 < length <= self._context_length:
            raise DataError(
                "a prompt", f"{length:,} tokens", expected=f"1 to {self._context_length:,}", remedy="shorten it" if length else "write one"
            )
        text = None
        if request.with_text or config.stop:
            if request.parse is None:
                raise TypeError("stop strings and text need a request with `parse`")
            text = TextStream(request.parse, config.stop)
        sampler = Sampler(config, sample=request.sample, prompt_ids=request.prompt_ids)
        self._waiting.append(Running(id=number, request=request, sampler=sampler, text=text))
        self._num_submitted += 1
        return number

    def cancel(self, number: int) -> bool:
        """Take a request back; its tokens stop coming. False: it has finished, or there never was one."""
        for one in self._waiting:
            if one.id == number:
                self._waiting.remove(one)
                return True
        for one in self._running:
            if one.id == number:
                self._leave(one)
                return True
        return False

    @torch.inference_mode()
    def step(self) -> list[NewToken]:
        """One call of the network: waiting prompts enter where there is room; a new token for each that entered or runs."""
        self._in_step = self._running
        entering = self._runner.admit(self._waiting, self._running)
        self._in_step = batch = [*entering, *self._running]
        if not batch:
            return []
        logits = self._runner.logits(entering, self._running)
        if entering:
            entered = {one.id for one in entering}
            self._waiting = [one for one in self._waiting if one.id not in entered]
            self._running = batch
        tokens = choose(logits, [one.sampler for one in batch])
        logprobs = log_probabilities(logits, tokens, [one.request.config.logprobs for one in batch])
        new_tokens = [
            one.take(token, logprob, context_length=self._context_length)
            for one, token, logprob in zip(batch, tokens, logprobs, strict=True)
        ]
        for one, new in zip(batch, new_tokens, strict=True):
            if new.finish_reason is not None:
                self._leave(one)
        return new_tokens

    def _leave(self, one: Running) -> None:
        self._running = [other for other in self._running if other is not one]
        self._runner.release(one)
