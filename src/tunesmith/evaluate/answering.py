"""One model and the examples: its loss on every reference, its completion of every prompt, and what that took.

>>> rendered = render_examples(examples, opened.renderer, max_length, say)
>>> answers = answer_examples(opened, rendered, config, "gemma")
>>> records = make_records(rendered, {"gemma": answers}, scorers)
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import islice
from typing import Any

from tunesmith.config import EvaluateConfig
from tunesmith.engine.adapters import as_base
from tunesmith.engine.room import watch_peak
from tunesmith.engine.score import score
from tunesmith.errors import ConfigError, DataError
from tunesmith.evaluate.records import EvaluationRecord, ModelAnswer
from tunesmith.evaluate.scorers import WEIGHTED, Score, Scorer, metric_of, weighted_score
from tunesmith.render.chunks import Renderings, render_all
from tunesmith.render.renderer import Renderer
from tunesmith.tuned import OpenedModel
from tunesmith.types import Completion, Example, ExampleLoss

OnProgress = Callable[[str, int, int], None]
"""(stage, done, total)."""

NUM_TRIED = 3
"""References that every scorer is tried on before a model is asked."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Effort:
    """What answering took, all prompts together."""

    seconds: float
    """Wall clock, from the first prompt to the last completion."""
    num_prompt_tokens: int
    num_new_tokens: int
    """Of the completions, end-of-turn tokens included."""
    peak_memory_bytes: int
    """Most in use meanwhile, weights included: of the GPU when the model is on one, else of the process."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answers:
    """What one model did with the examples, in their order."""

    losses: Sequence[ExampleLoss]
    """On the references."""
    completions: Sequence[Completion] | None
    """None for raw text, where there is nothing to answer, and where the losses alone were asked for."""
    effort: Effort | None
    """None for raw text, for answers that were kept from another run's evaluation, and where another engine gave them."""


def render_examples(examples: Sequence[Example], renderer: Renderer, max_length: int, say: Callable[[str], None]) -> list[Renderings]:
    """As in training: texts too long are read in windows, prompts too long are cut.

    An example whose answer alone is too long is left out, and named.

    Raises:
        DataError: none is left.
    """
    rendered = []
    for example in examples:
        try:
            is_text = example.kind == "text"
            rendered.append(render_all(example, renderer, max_length) if is_text else (renderer.fit(example, max_length),))
        except DataError as error:
            say(f"left out of the evaluation: {error}")
    if not rendered:
        raise DataError(
            "the evaluation",
            "every example is too long",
            expected=f"answers under {max_length} tokens",
            remedy="raise --max-length in training",
        )
    return rendered


def answer_examples(
    opened: OpenedModel,
    rendered: Sequence[Renderings],
    config: EvaluateConfig,
    label: str,
    *,
    on_progress: OnProgress | None = None,
    switched_off: bool = False,
    losses_alone: bool = False,
) -> Answers:
    """Measure the model's loss on every reference and let it answer every prompt (raw text: the loss alone).

    Args:
        opened: the model.
        rendered: of `render_examples`, with this model's renderer.
        config: its `generation` is how completions are produced.
        label: the model's, for progress.
        on_progress: told the stage (`base: loss`, `base: answers`), how many are done and of how many.
        switched_off: the model's adapter is left aside; the base model answers.
        losses_alone: nothing is answered.
    """
    tell = on_progress or _ignore
    sequences = [sequence for renderings in rendered for sequence in renderings]
    examples = [renderings[0].example for renderings in rendered]
    with as_base(opened.network) if switched_off else nullcontext():
        losses = score(opened.hugging_face_network, sequences, on_progress=lambda done: tell(f"{label}: loss", done, len(sequences)))
        if losses_alone or examples[0].text is not None:
            return Answers(losses=_add_up(losses, rendered), completions=None, effort=None)
        completions, effort = complete_examples(opened, examples, config, lambda done: tell(f"{label}: answers", done, len(examples)))
    return Answers(losses=losses, completions=completions, effort=effort)


def complete_examples(
    opened: OpenedModel, examples: Sequence[Example], config: EvaluateConfig, on_progress: Callable[[int], None]
) -> tuple[list[Completion], Effort]:
    """Let the model answer every prompt; what that took.

    Raises:
        ConfigError: the settings ask for another engine.
    """
    if config.engine != "tunesmith":
        raise ConfigError("engine", config.engine, expected="our own here", remedy="set it for `evaluate` and `benchmark` alone")
    prompts = render_prompts(opened, examples, config)
    started = time.perf_counter()
    with watch_peak(opened.loaded.device) as peak:
        completions = opened.complete_prompts(prompts, config.generation, on_progress=on_progress)
    effort = Effort(
        seconds=time.perf_counter() - started,
        num_prompt_tokens=sum(map(len, prompts)),
        num_new_tokens=sum(len(completion.token_ids) for completion in completions),
        peak_memory_bytes=peak.bytes,
    )
    return completions, effort


def render_prompts(opened: OpenedModel, examples: Sequence[Example], config: EvaluateConfig) -> list[tuple[int, ...]]:
    """Every prompt's tokens, whoever answers."""
    return [
        opened.prompt_ids(example.prompt_messages, config.generation, fields=example.fields, place=example.source) for example in examples
    ]


def _add_up(losses: Sequence[ExampleLoss], rendered: Sequence[Renderings]) -> list[ExampleLoss]:
    """The losses of every text's windows together: its tokens are predicted once each."""
    following = iter(losses)
    windows = [list(islice(following, len(renderings))) for renderings in rendered]
    return [ExampleLoss(total=sum(one.total for one in w), num_supervised=sum(one.num_supervised for one in w)) for w in windows]


def make_records(
    rendered: Sequence[Renderings],
    answers: Mapping[str, Answers],
    scorers: Sequence[Scorer],
    weights: Mapping[str, float] | None = None,
) -> list[EvaluationRecord]:
    """A record an example, with every model's scored answer.

    Args:
        rendered: the examples, in the order answered.
        answers: by the model's label.
        scorers: what the completions are scored with, the deciding one first.
        weights: of scorers, for the one number `score`, which then comes first.

    Raises:
        DataError: a scorer failed on a completion; names the example.
    """
    examples = [renderings[0].example for renderings in rendered]
    texts = [completion.text for given in answers.values() for completion in given.completions or ()]
    _prepare(scorers, texts, examples)
    return [_record(example, answers, index, scorers, weights or {}) for index, example in enumerate(examples)]


def score_records(
    records: Sequence[EvaluationRecord], examples: Mapping[str, Example], scorers: Sequence[Scorer], weights: Mapping[str, float]
) -> list[EvaluationRecord]:
    """The records with scores of these scorers in place of those they had; raw text has none.

    Args:
        records: answers of any models.
        examples: what was asked, by its id.
        scorers: what the completions are scored with, the deciding one first.
        weights: of scorers, for the one number `score`, which then comes first.

    Raises:
        DataError: a scorer failed on a completion; names the example.
    """
    answered = [record for record in records if record.is_answered]
    texts = [answer.completion for record in answered for answer in record.answers.values()]
    _prepare(scorers, texts, [examples[record.id] for record in answered])
    return [_scored_again(record, examples[record.id], scorers, weights) if record.is_answered else record for record in records]


def _prepare(scorers: Sequence[Scorer], completions: Sequence[str], examples: Sequence[Example]) -> None:
    for scorer in scorers:
        if scorer.prepare and completions:
            scorer.prepare([*completions, *(example.reference for example in examples)])


def _scored_again(record: EvaluationRecord, example: Example, scorers: Sequence[Scorer], weights: Mapping[str, float]) -> EvaluationRecord:
    answers = {
        label: dataclasses.replace(answer, **_score_fields(score_completion(answer.completion, example, scorers, weights)))
        for label, answer in record.answers.items()
    }
    return dataclasses.replace(record, answers=answers)


def _record(
    example: Example, answers: Mapping[str, Answers], index: int, scorers: Sequence[Scorer], weights: Mapping[str, float]
) -> EvaluationRecord:
    return EvaluationRecord(
        id=example.id,
        source=example.source,
        prompt=example.prompt,
        reference=example.reference,
        messages=example.prompt_messages,
        answers={label: model_answer(example, given, index, scorers, weights) for label, given in answers.items()},
    )


def model_answer(example: Example, answers: Answers, index: int, scorers: Sequence[Scorer], weights: Mapping[str, float]) -> ModelAnswer:
    """One model's scored answer to `example`, which stands at `index` of the answers."""
    loss = answers.losses[index]
    if answers.completions:
        return scored_answer(example, answers.completions[index], scorers, weights, loss=loss)
    return scored_answer(example, Completion(text="", token_ids=(), finish_reason="end_of_turn"), (), {}, loss=loss)


def scored_answer(
    example: Example,
    completion: Completion,
    scorers: Sequence[Scorer],
    weights: Mapping[str, float] | None = None,
    *,
    loss: ExampleLoss | None = None,
) -> ModelAnswer:
    """A completion with its scores; without a loss where the model cannot say one (an endpoint), as 0 nats of 0 tokens."""
    scores = score_completion(completion.text, example, scorers, weights or {})
    return ModelAnswer(
        completion=completion.text,
        finish_reason=completion.finish_reason,
        num_tokens=len(completion.token_ids),
        loss_total=loss.total if loss else 0.0,
        num_supervised=loss.num_supervised if loss else 0,
        **_score_fields(scores),
    )


def _score_fields(scores: Mapping[str, Score]) -> dict[str, Any]:
    """What of a model's answer comes of its scores."""
    return {
        "scores": {name: one.value for name, one in scores.items()},
        "explanations": {name: one.explanation for name, one in scores.items() if one.explanation},
        "label": next((one.label for one in scores.values() if one.label is not None), None),
    }


def score_completion(completion: str, example: Example, scorers: Sequence[Scorer], weights: Mapping[str, float]) -> dict[str, Score]:
    """Every scorer's score by name, the weighted one first; those that do not apply are missing.

    Raises:
        DataError: a scorer failed, or a weighted one gave a number that is not from 0 to its best.
    """
    found = {scorer.name: score for scorer in scorers if (score := scorer.score(completion, example)) is not None}
    for name in found.keys() & weights.keys():
        top = metric_of(name).top
        if not -1e-9 <= found[name].value <= top * (1 + 1e-9):
            remedy = "leave out its weight, or let the scorer give such numbers"
            raise DataError(
                example.source, f"{name} gave {found[name].value:g}", expected=f"0 to {top:g}, as it has a weight", remedy=remedy
            )
    weighted = weighted_score({name: score.value for name, score in found.items()}, weights)
    return {**({WEIGHTED.name: weighted} if weighted else {}), **found}


def try_scorers(scorers: Sequence[Scorer], examples: Sequence[Example], weights: Mapping[str, float]) -> None:
    """Score a few references as if they were completions, so that a scorer that cannot work fails before anything is generated.

    Raises:
        DataError: see `score_completion`.
    """
    for example in [example for example in examples if example.messages][:NUM_TRIED]:
        score_completion(example.reference, example, scorers, weights)


def _ignore(*_: object) -> None:
    """Nobody is watching."""
