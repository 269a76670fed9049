"""What a step learns: right answers (SFT), or which answers are better (DPO, IPO, KTO, ORPO).

>>> objective = make_objective(config)
>>> batch = objective.batch(network, split, members, tokens_per_pack)   # what the step's examples are to the model
>>> objective.part(network, pack, batch).total.backward()               # for each pack of the batch's sequences

The loss of a step is a mean: SFT's over the step's supervised tokens, the others' over its examples; the parts of its
micro-batches add up to it, however the examples fall into them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import NamedTuple, Protocol, overload

import torch
from torch import Tensor
from transformers import PreTrainedModel

from tunesmith.config import TrainConfig
from tunesmith.engine.loss import pack_loss, supervised_nats
from tunesmith.engine.packing import Pack
from tunesmith.engine.score import mean_loss, score
from tunesmith.render.rendered import RenderedExamples
from tunesmith.train.preferences import Answers, Judged, dpo, ipo, kto, orpo
from tunesmith.train.reference import Reference, answer_only, measure_reference, mismatch
from tunesmith.types import RenderedExample


class AnswerRows(Sequence[tuple[RenderedExample, ...]]):
    """Made one by one: all of a large split at once would not fit into memory."""

    def __init__(self, columns: Sequence[Sequence[RenderedExample]]) -> None:
        """`columns`: of equal lengths."""
        assert len(set(map(len, columns))) == 1
        self._columns = columns

    def __len__(self) -> int:
        return len(self._columns[0])

    @overload
    def __getitem__(self, index: int) -> tuple[RenderedExample, ...]: ...

    @overload
    def __getitem__(self, index: slice) -> AnswerRows: ...

    def __getitem__(self, index: int | slice) -> tuple[RenderedExample, ...] | AnswerRows:
        if isinstance(index, slice):
            return AnswerRows([column[index] for column in self._columns])
        return tuple(answer_only(column[index]) for column in self._columns)


@dataclass(frozen=True, kw_only=True)
class Split:
    """The examples of one split as training takes them; index i means the same example everywhere."""

    rendered: Sequence[RenderedExample]
    """Right answers; of pairs the chosen ones."""
    rejected: Sequence[RenderedExample] = ()
    """Of pairs, the other answers to the same prompts."""
    reference: Reference | None = None
    """What the starting network said of them, where the objective compares with it."""

    def __len__(self) -> int:
        return len(self.rendered)

    @cached_property
    def answers(self) -> AnswerRows:
        """Each example's sequences with their last answer alone supervised: chosen and rejected of a pair, else one."""
        return AnswerRows((self.rendered, self.rejected) if self.rejected else (self.rendered,))

    @property
    def num_tokens(self) -> Tensor:
        """(N, W) float64, tokens of each answer."""
        return _num_tokens(self.answers)

    @property
    def lengths(self) -> list[int]:
        """Tokens that each example costs; a pair's prompt is computed once."""
        if not self.rejected:
            if isinstance(self.rendered, RenderedExamples):
                return list(map(int, self.rendered.lengths))
            return [len(one.token_ids) for one in self.rendered]
        return [_pair_length(*row) for row in zip(self.rendered, self.rejected, strict=True)]


def _num_tokens(rows: Sequence[Sequence[RenderedExample]]) -> Tensor:
    return torch.tensor([[one.num_supervised for one in row] for row in rows], dtype=torch.float64)


def _pair_length(chosen: RenderedExample, rejected: RenderedExample) -> int:
    longest = min(len(chosen.token_ids), len(rejected.token_ids))
    shared = next((i for i in range(longest) if chosen.token_ids[i] != rejected.token_ids[i]), longest)
    return len(chosen.token_ids) + len(rejected.token_ids) - shared


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What the examples of one step are to the model."""

    sequences: Sequence[RenderedExample]
    families: Sequence[int]
    """Of each sequence the example it belongs to, by its place in the step: sequences of one example share a pack."""
    num_terms: int
    """The step's loss is the mean of this many terms: supervised tokens, or examples."""
    answers: Answers | None = None


class Part(NamedTuple):
    """What one micro-batch contributes."""

    total: Tensor
    """Scalar: its share of the step's mean; carries the gradient."""
    figures: Mapping[str, Sequence[float]]
    """Values to be shown as their means over the step."""


class Objective(Protocol):
    """What training minimises."""

    @property
    def needs_reference(self) -> bool:
        """Whether it compares with the network as the run started it."""

    def measure(self, network: PreTrainedModel, split: Split, groups: Sequence[Sequence[int]], tokens_per_pack: int) -> Reference:
        """What the starting network says of the examples that the `groups` (steps, or one validation) use."""

    def batch(self, network: PreTrainedModel, split: Split, members: Sequence[int], tokens_per_pack: int) -> Batch:
        """Lay out the examples `members` of a step. May run the network without gradient, in evaluation mode."""

    def part(self, network: PreTrainedModel, pack: Pack, batch: Batch) -> Part:
        """Loss of one pack of the batch's sequences. Call inside `attending_by_segments(network)`."""

    def validate(self, network: PreTrainedModel, split: Split, tokens_per_pack: int) -> dict[str, float]:
        """`loss` over a whole split, and other figures. The network is in evaluation mode."""

    def summarise(self, values: Mapping[str, Sequence[float]]) -> dict[str, float]:
        """Means of the parts' figures, and what follows from them."""


@dataclass(frozen=True)
class TokenLoss:
    """Supervised fine-tuning: the mean of the supervised tokens' nats."""

    needs_reference = False

    def measure(self, network: PreTrainedModel, split: Split, groups: Sequence[Sequence[int]], tokens_per_pack: int) -> Reference:
        raise AssertionError("supervised training compares with nothing")

    def batch(self, network: PreTrainedModel, split: Split, members: Sequence[int], tokens_per_pack: int) -> Batch:
        del network, tokens_per_pack
        sequences = [split.rendered[i] for i in members]
        return Batch(sequences=sequences, families=range(len(sequences)), num_terms=sum(one.num_predicted for one in sequences))

    def part(self, network: PreTrainedModel, pack: Pack, batch: Batch) -> Part:
        return Part(pack_loss(network, pack, weight=1 / batch.num_terms).total, {})

    def validate(self, network: PreTrainedModel, split: Split, tokens_per_pack: int) -> dict[str, float]:
        return {"loss": mean_loss(score(network, split.rendered, tokens_per_pack=tokens_per_pack))}

    def summarise(self, values: Mapping[str, Sequence[float]]) -> dict[str, float]:
        del values
        return {}


@dataclass(frozen=True, kw_only=True)
class SequenceLoss:
    """A loss of whole answers' log-probabilities; the mean over examples."""

    formula: Callable[[Tensor, Answers], Judged]
    beta: float | None
    """Reward per nat of log-ratio; None: the objective compares with no reference."""
    needs_divergence: bool
    """KTO: each step asks how far the network has moved on answers to other prompts."""
    max_length: int
    """Tokens; a mismatched prompt and answer are cut there."""

    @property
    def needs_reference(self) -> bool:
        return self.beta is not None

    def measure(self, network: PreTrainedModel, split: Split, groups: Sequence[Sequence[int]], tokens_per_pack: int) -> Reference:
        mismatches = [pair for members in groups for pair in self._mismatches(members)]
        used = [i for members in groups for i in members]
        return measure_reference(network, split.answers, used, mismatches, max_length=self.max_length, tokens_per_pack=tokens_per_pack)

    def batch(self, network: PreTrainedModel, split: Split, members: Sequence[int], tokens_per_pack: int) -> Batch:
        rows = [split.answers[i] for i in members]
        reference = split.reference or Reference.unknown(len(split), len(rows[0]))
        answers = Answers(
            num_tokens=_num_tokens(rows),
            reference=reference.nats[list(members)],
            desirable=torch.tensor([row[0].example.label is not False for row in rows]),
            divergence=self._divergence(network, split, reference, members, tokens_per_pack),
        )
        return Batch(
            sequences=[one for row in rows for one in row],
            families=[place for place, row in enumerate(rows) for _ in row],
            num_terms=len(rows),
            answers=answers,
        )

    def part(self, network: PreTrainedModel, pack: Pack, batch: Batch) -> Part:
        assert batch.answers is not None
        nats = supervised_nats(network, pack).double()
        sums = torch.zeros(len(pack.members), dtype=torch.float64, device=nats.device).index_add(0, pack.segment_of_label, nats)
        order = sorted(range(len(pack.members)), key=pack.members.__getitem__)  # example after example, chosen before rejected
        width = batch.answers.num_tokens.shape[1]
        rows = torch.tensor([batch.families[pack.members[place]] for place in order[::width]])
        judged = self.formula(sums[order].view(-1, width).cpu(), batch.answers.take(rows))
        return Part(judged.losses.sum() / batch.num_terms, {name: values.tolist() for name, values in judged.figures.items()})

    def validate(self, network: PreTrainedModel, split: Split, tokens_per_pack: int) -> dict[str, float]:
        batch = self.batch(network, split, range(len(split)), tokens_per_pack)
        assert batch.answers is not None
        totals = [loss.total for loss in score(network, batch.sequences, tokens_per_pack=tokens_per_pack)]
        judged = self.formula(torch.tensor(totals, dtype=torch.float64).view(len(split), -1), batch.answers)
        figures = self.summarise({name: values.tolist() for name, values in judged.figures.items()})
        return {"loss": float(judged.losses.mean()), **figures}

    def summarise(self, values: Mapping[str, Sequence[float]]) -> dict[str, float]:
        """A figure that no example of the step has (KTO: no undesirable answer) is left out."""
        means = {name: sum(those) / len(those) for name, those in values.items() if those}
        if self.beta is not None and {"chosen_log_ratio", "rejected_log_ratio"} <= means.keys():
            means["reward_margin"] = self.beta * (means["chosen_log_ratio"] - means["rejected_log_ratio"])
        return means

    def _mismatches(self, members: Sequence[int]) -> list[tuple[int, int]]:
        """Each prompt with the answer of the step's previous example; an example alone has no other."""
        if not self.needs_divergence or len(members) < 2:
            return []
        return list(zip(members, [members[-1], *members[:-1]], strict=True))

    def _divergence(
        self, network: PreTrainedModel, split: Split, reference: Reference, members: Sequence[int], tokens_per_pack: int
    ) -> float:
        """KTO's z, never below zero and without gradient (Ethayarajh et al. 2024, section 3.2); 0 for an example alone."""
        pairs = self._mismatches(members)
        if not pairs:
            return 0.0
        network.eval()
        crossed = [mismatch(split.answers[prompt][0], split.answers[answer][0], self.max_length) for prompt, answer in pairs]
        now = [loss.total for loss in score(network, crossed, tokens_per_pack=tokens_per_pack)]
        return max(0.0, sum(reference.mismatched[pair] - nats for pair, nats in zip(pairs, now, strict=True)) / len(pairs))


def make_objective(config: TrainConfig) -> Objective:
    """What the settings, resolved by `train.material.resolve_objective`, ask for."""
    if config.objective == "sft":
        return TokenLoss()
    assert config.max_length is not None
    formula: Callable[[Tensor, Answers], Judged]
    if config.objective == "orpo":
        formula = partial(orpo, orpo_lambda=config.orpo_lambda)
        return SequenceLoss(formula=formula, beta=None, needs_divergence=False, max_length=config.max_length)
    assert config.beta is not None
    if config.objective == "dpo":
        formula = partial(dpo if config.dpo_loss == "sigmoid" else ipo, beta=config.beta)
        return SequenceLoss(formula=formula, beta=config.beta, needs_divergence=False, max_length=config.max_length)
    assert config.objective == "kto", config.objective
    formula = partial(kto, beta=config.beta, desirable_weight=config.desirable_weight, undesirable_weight=config.undesirable_weight)
    return SequenceLoss(formula=formula, beta=config.beta, needs_divergence=True, max_length=config.max_length)
