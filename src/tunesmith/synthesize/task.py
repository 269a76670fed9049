"""From what the user asked for to work that can be done: which recipe, on what, beside which data."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tunesmith.chat.budget import Budget
from tunesmith.chat.models import ChatModel, choose_chat_model
from tunesmith.config import SynthesizeConfig
from tunesmith.data.storing.prepared import PreparedData, load_prepared
from tunesmith.errors import ConfigError
from tunesmith.synthesize.inputs import (
    Material,
    prompts_of,
    read_failures,
    read_passages,
    read_rows_of,
    read_seeds,
    training_examples,
    usual_redirection,
)
from tunesmith.synthesize.recipes.documents import Documents
from tunesmith.synthesize.recipes.errors import Errors
from tunesmith.synthesize.recipes.instructions import Instructions
from tunesmith.synthesize.recipes.recipe import Recipe
from tunesmith.synthesize.recipes.redirections import Redirections
from tunesmith.synthesize.recipes.variations import Harder, Paraphrases
from tunesmith.synthesize.synthesize import Synthesis, synthesize
from tunesmith.synthesize.through_templates import through_templates

Say = Callable[[str], None]
OnProgress = Callable[[Synthesis, Budget], None]


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is asked for; which of it a recipe needs is checked by `plan`."""

    recipe: str
    inputs: tuple[str, ...] = ()
    data: Path | None = None
    scope: str | None = None
    reply: str | None = None
    groups: tuple[str, ...] = ()
    prompt_templates: tuple[str, ...] = ()
    completion_template: str | None = None


@dataclass(frozen=True, kw_only=True)
class Task:
    """Work that can be done."""

    recipe: Recipe
    teacher: ChatModel
    config: SynthesizeConfig
    made_of: Mapping[str, Any]
    prepared: PreparedData | None = None

    def run(self, out: Path, on_progress: OnProgress | None = None) -> dict[str, Any]:
        """Do it; see `synthesize`."""
        train, held_out = [], []
        if self.prepared is not None:
            train = prompts_of(self.prepared.train)
            held_out = prompts_of([*self.prepared.validation, *self.prepared.test])
        return synthesize(
            self.recipe,
            self.teacher,
            self.config,
            out,
            made_of=self.made_of,
            train_prompts=train,
            test_prompts=held_out,
            on_progress=on_progress,
        )


@dataclass(frozen=True, kw_only=True)
class TemplateTask:
    """Rows through templates: no teacher, no calls."""

    material: Material
    options: Options
    config: SynthesizeConfig

    def run(self, out: Path, on_progress: OnProgress | None = None) -> dict[str, Any]:
        """Do it; see `through_templates`."""
        del on_progress
        assert self.options.completion_template is not None
        return through_templates(self.material.rows, self.options.prompt_templates, self.options.completion_template, out)


NEEDS: Mapping[str, tuple[str, ...]] = {
    "documents": ("inputs",),
    "instructions": ("inputs",),
    "paraphrases": ("data",),
    "harder": ("data",),
    "redirections": ("scope",),
    "errors": ("inputs",),
    "template": ("inputs", "prompt_templates", "completion_template"),
}
"""What each recipe cannot do without."""
TAKES: Mapping[str, tuple[str, ...]] = {
    "documents": ("data",),
    "instructions": ("data",),
    "paraphrases": (),
    "harder": (),
    "redirections": ("data", "reply"),
    "errors": ("groups",),
    "template": (),
}
"""What it can use beside that."""
SPELT: Mapping[str, str] = {
    "inputs": "INPUTS",
    "data": "--data",
    "scope": "--scope",
    "reply": "--reply",
    "groups": "--groups",
    "prompt_templates": "--prompt-template",
    "completion_template": "--completion-template",
}


def plan(options: Options, config: SynthesizeConfig, say: Say) -> Task | TemplateTask:
    """Read what the recipe works on.

    Raises:
        ConfigError: something is missing, or given to a recipe that has no use for it.
        DataError, RunError: what it works on is not there.
    """
    _require_fitting(options)
    if options.recipe == "template":
        return TemplateTask(material=read_rows_of(options.inputs), options=options, config=config)
    teacher = choose_chat_model(config, say)
    chosen = RECIPES[options.recipe](options, config, say)
    prepared = chosen.prepared
    data = {} if prepared is None else {"data": prepared.fingerprint}
    made_of = {**chosen.material.made_of, **data, **chosen.more}
    return Task(recipe=chosen.recipe, teacher=teacher, config=config, made_of=made_of, prepared=prepared)


def _require_fitting(options: Options) -> None:
    needs, takes = NEEDS[options.recipe], TAKES[options.recipe]
    for name, spelt in SPELT.items():
        given = getattr(options, name)
        if name in needs and not given:
            raise ConfigError(
                f"synthesize {options.recipe}", f"{spelt} is not given", expected="it, to know what to work on", remedy=f"add {spelt}"
            )
        if given and name not in (*needs, *takes):
            others = ", ".join(recipe for recipe in NEEDS if name in (*NEEDS[recipe], *TAKES[recipe]))
            raise ConfigError(
                f"synthesize {options.recipe}", f"{spelt} is given", expected=f"it only for {others}", remedy=f"leave {spelt} out"
            )
    if options.recipe == "errors" and len(options.inputs) > 1:
        raise ConfigError("synthesize errors", f"{len(options.inputs)} runs", expected="one analysed run", remedy="name one")


@dataclass(frozen=True, kw_only=True)
class _Chosen:
    recipe: Recipe
    prepared: PreparedData | None = None
    material: Material = field(default_factory=Material)
    more: Mapping[str, Any] = field(default_factory=dict)


def _documents(options: Options, config: SynthesizeConfig, say: Say) -> _Chosen:
    material = read_passages(options.inputs)
    recipe = Documents(material.rows, config)
    say(f"{recipe.num_passages:,} passages to ask about, of {len(material.rows):,}")
    return _Chosen(recipe=recipe, prepared=_data(options), material=material)


def _instructions(options: Options, config: SynthesizeConfig, say: Say) -> _Chosen:
    material = read_seeds(options.inputs)
    say(f"{len(material.examples):,} seed tasks")
    return _Chosen(recipe=Instructions(material.examples, config), prepared=_data(options), material=material)


def _paraphrases(options: Options, config: SynthesizeConfig, say: Say) -> _Chosen:
    prepared, examples = _training(options, say)
    return _Chosen(recipe=Paraphrases(examples, config), prepared=prepared)


def _harder(options: Options, config: SynthesizeConfig, say: Say) -> _Chosen:
    prepared, examples = _training(options, say)
    return _Chosen(recipe=Harder(examples, config), prepared=prepared)


def _redirections(options: Options, config: SynthesizeConfig, say: Say) -> _Chosen:
    prepared = _data(options)
    reply = options.reply
    if reply is None and prepared is not None:
        reply = usual_redirection(training_examples(prepared))
    say("the teacher words each redirection" if reply is None else f"redirection: {reply}")
    more = {"scope": options.scope, "reply": reply}
    return _Chosen(recipe=Redirections(str(options.scope), reply, config), prepared=prepared, more=more)


def _errors(options: Options, config: SynthesizeConfig, say: Say) -> _Chosen:
    groups, prepared = read_failures(options.inputs[0], options.groups)
    for group in groups:
        say(f"{group.title}: {len(group.failures):,} failures to show")
    more = {"failures": json.loads(json.dumps([group.failures for group in groups]))}
    return _Chosen(recipe=Errors(groups, training_examples(prepared), config), prepared=prepared, more=more)


def _data(options: Options) -> PreparedData | None:
    return None if options.data is None else load_prepared(options.data)


def _training(options: Options, say: Say) -> tuple[PreparedData, Sequence[Any]]:
    assert options.data is not None
    prepared = load_prepared(options.data)
    examples = training_examples(prepared)
    say(f"{len(examples):,} training examples to vary")
    return prepared, examples


RECIPES: Mapping[str, Callable[[Options, SynthesizeConfig, Say], _Chosen]] = {
    "documents": _documents,
    "instructions": _instructions,
    "paraphrases": _paraphrases,
    "harder": _harder,
    "redirections": _redirections,
    "errors": _errors,
}
