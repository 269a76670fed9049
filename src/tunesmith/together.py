"""Several models in one memory: runs on one base share its weights, and each answers under its own name.

>>> models = open_together(["runs/faq", "runs/tone"])
>>> [(model.name, model.adapter) for model in models]
[('faq', 'adapter-1'), ('tone', 'adapter-2'), ('smollm2-135m-instruct', None)]
>>> faq = models[0]
>>> decoder = Decoder(faq.base.network, context_length=faq.context_length)
>>> decoder.submit(faq.request(faq.prompt_ids(messages, config, fields={}, place="the prompt"), config))
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import peft
from transformers import PreTrainedModel

from tunesmith import assets
from tunesmith.assets.folders import check_model_folder
from tunesmith.config import ADAPTER_METHODS, GenerateConfig
from tunesmith.engine.adapters import changes_linear_layers_only, load_adapter
from tunesmith.engine.generation.sequences import Request
from tunesmith.engine.loading import LoadedModel, load_tokenizer, weights_fingerprint
from tunesmith.engine.vocabulary import add_new_tokens
from tunesmith.errors import ConfigError, RunError, TunesmithError
from tunesmith.render.renderer import Renderer
from tunesmith.runs import RunDirectory, is_run, open_run
from tunesmith.tuned import PromptFit, base_directory, load, stored_renderer
from tunesmith.types import Message

FOUR_BIT_SUFFIX = "-nf4"
"""Of a base's name when it is in four bits: not the model that others know by the name alone."""


@dataclass(frozen=True, kw_only=True, eq=False)
class BaseNetwork:
    """A network in memory, with the adapters of all models that share it in its layers."""

    network: PreTrainedModel
    """By itself the base, no adapter acting. The network of a run with new tokens is not shared: there its adapter acts."""
    loaded: LoadedModel


@dataclass(frozen=True, kw_only=True)
class ServedModel:
    """A model that can be asked by name."""

    name: str
    reference: str
    """What it was opened by: a run directory, a model's name or folder."""
    base: BaseNetwork
    """One object for all models that share it."""
    adapter: str | None
    """Within the network; None: the network without adapters."""
    renderer: Renderer
    context_length: int
    trained_on_text: bool
    """Tuned on raw text: a prompt is continued as it stands, without a template."""
    created: int
    """When the run started, or the model's folder was written, in seconds since 1970."""
    fingerprint: str
    """Equal for equal weights, adapter and renderer."""

    def prompt_ids(
        self, messages: Sequence[Message], config: GenerateConfig, *, fields: Mapping[str, str] | None = None, place: str = "the prompt"
    ) -> tuple[int, ...]:
        """Render a prompt into what the context leaves beside the new tokens, cutting it as training would.

        Raises:
            DataError: it does not fit even when cut; a text to be continued is never cut.
        """
        fit = PromptFit(self.renderer, self.context_length, self.trained_on_text)
        return fit.prompt_ids(messages, config, fields=fields or {}, place=place)

    def request(self, prompt_ids: Sequence[int], config: GenerateConfig, *, sample: int = 0, with_text: bool = False) -> Request:
        """For a `Decoder` on `base.network`."""
        return Request(
            prompt_ids=prompt_ids,
            config=config,
            sample=sample,
            with_text=with_text,
            adapter=self.adapter,
            stop_ids=self.renderer.stop_ids,
            parse=self.renderer.parse,
        )


def open_together(
    references: Sequence[str | Path], *, dtype: str = "auto", device: str = "auto", say: Callable[[str], None] | None = None
) -> tuple[ServedModel, ...]:
    """Open runs and models, in the order given, and then the bases that adapters share.

    Raises:
        ConfigError: nothing is named, or two models have one name.
        AssetError: there is no such model, or its weights are pickled, which is never opened.
        RunError: a run has not finished, its records are damaged, or its renderer no longer gives the tokens it was trained with.
    """
    say = say or (lambda sentence: None)
    if not references:
        raise ConfigError("the models to open", "none", expected="run directories or models", remedy="name one")
    plans = [_plan(str(reference), say) for reference in references]
    plans += _shared_bases(plans)
    _refuse_equal_names(plans)
    opening = _Opening(dtype, device, say)
    models = tuple(opening.open(plan) for plan in plans)
    opening.let_bases_stand()
    return models


@dataclass(frozen=True, kw_only=True)
class _Weights:
    """Which network a model needs; equal ones are one network."""

    directory: Path = field(compare=False)
    fingerprint: str
    """Of weights and settings."""
    is_quantized: bool = False
    only_for: str = ""
    """The run that shares its network with no other."""
    new_tokens: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """What is known of a model before anything is loaded."""

    name: str
    reference: str
    weights: _Weights
    run: RunDirectory | None
    base_name: str = ""
    """Of a run with an adapter."""
    created: int

    @property
    def has_adapter(self) -> bool:
        return bool(self.base_name)


def _plan(reference: str, say: Callable[[str], None]) -> _Plan:
    if is_run(reference):
        with _damage_named(reference):
            return _plan_of_run(reference, open_run(Path(reference)))
    resolved = assets.resolve_model(reference, on_progress=say)
    weights = _Weights(directory=resolved.directory, fingerprint=_digest_of(resolved.directory))
    return _Plan(name=resolved.name, reference=reference, weights=weights, run=None, created=_written(resolved.directory))


def _plan_of_run(reference: str, run: RunDirectory) -> _Plan:
    manifest, record = run.manifest(), run.record()
    name, created = run.name, int(datetime.fromisoformat(record["created"]).timestamp())
    if manifest["method"] not in ADAPTER_METHODS:
        check_model_folder(run.model_dir)
        weights = _Weights(directory=run.model_dir, fingerprint=_digest_of(run.model_dir))
        return _Plan(name=name, reference=reference, weights=weights, run=run, created=created)
    directory, new_tokens = base_directory(record), tuple(record["config"].get("new_tokens", ()))
    check_model_folder(directory)
    is_alone = bool(new_tokens) or not changes_linear_layers_only(run.model_dir)
    weights = _Weights(
        directory=directory,
        fingerprint=_digest_of(directory),
        is_quantized=manifest["method"] == "qlora",
        only_for=str(run.path.resolve()) if is_alone else "",
        new_tokens=new_tokens,
    )
    return _Plan(name=name, reference=reference, weights=weights, run=run, base_name=str(record["model"]["name"]), created=created)


@contextmanager
def _damage_named(reference: str) -> Iterator[None]:
    """Records that are JSON, and yet not what a run writes."""
    try:
        yield
    except TunesmithError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        found = f"its records are damaged ({type(error).__name__}: {error})"
        raise RunError(reference, found, expected="a run directory as training leaves it", remedy="restore it, or train again") from error


def _digest_of(directory: Path) -> str:
    """Of the weights, and of the settings that say what is computed with them."""
    digest = hashlib.sha256(weights_fingerprint(directory).encode())
    digest.update((directory / "config.json").read_bytes())
    return digest.hexdigest()[:16]


def _written(directory: Path) -> int:
    return int((directory / "config.json").stat().st_mtime)


def _shared_bases(plans: Sequence[_Plan]) -> list[_Plan]:
    """The models under the adapters, each once, but for those that were named anyway."""
    known = {plan.weights for plan in plans if not plan.has_adapter}
    found: dict[_Weights, _Plan] = {}
    for plan in plans:
        weights = plan.weights
        if plan.has_adapter and weights not in known and not weights.only_for and weights not in found:
            name = plan.base_name + (FOUR_BIT_SUFFIX if weights.is_quantized else "")
            created = _written(weights.directory)
            found[weights] = _Plan(name=name, reference=str(weights.directory), weights=weights, run=None, created=created)
    return list(found.values())


def _refuse_equal_names(plans: Sequence[_Plan]) -> None:
    first: dict[str, _Plan] = {}
    for plan in plans:
        if other := first.get(plan.name):
            raise ConfigError(
                "the models to open",
                f"two are called {plan.name!r}: {other.reference} and {plan.reference}",
                expected="a name for each, by which it is asked",
                remedy="leave one out, or rename its directory",
            )
        first[plan.name] = plan


class _Opening:
    """Networks loaded so far."""

    def __init__(self, dtype: str, device: str, say: Callable[[str], None]) -> None:
        self._dtype, self._device, self._say = dtype, device, say
        self._bases: dict[_Weights, BaseNetwork] = {}
        self._with_adapters: dict[_Weights, peft.PeftModel] = {}
        self._num_adapters = 0

    def open(self, plan: _Plan) -> ServedModel:
        base = self._base(plan.weights)
        renderer = self._renderer(plan, base)
        identity = [plan.weights.fingerprint, renderer.fingerprint]
        adapter = None
        if plan.has_adapter:
            assert plan.run is not None
            adapter = self._put_on(plan.weights, base, plan.run.model_dir)
            identity.append(weights_fingerprint(plan.run.model_dir))
        return ServedModel(
            name=plan.name,
            reference=plan.reference,
            base=base,
            adapter=adapter,
            renderer=renderer,
            context_length=base.loaded.context_length,
            trained_on_text=bool(plan.run and plan.run.manifest()["trained_on_text"]),
            created=plan.created,
            fingerprint=hashlib.sha256("\0".join(identity).encode()).hexdigest()[:16],
        )

    def _base(self, weights: _Weights) -> BaseNetwork:
        if weights not in self._bases:
            self._say(f"loading {weights.directory}")
            loaded = load(weights.directory, dtype=self._dtype, device=self._device, quantize=weights.is_quantized)
            add_new_tokens(loaded, weights.new_tokens)
            self._bases[weights] = BaseNetwork(network=loaded.network, loaded=loaded)
        return self._bases[weights]

    def _renderer(self, plan: _Plan, base: BaseNetwork) -> Renderer:
        """With the tokenizer that lies beside the model's own copy of the weights."""
        is_same = plan.weights.directory == base.loaded.directory
        tokenizer: Any = base.loaded.tokenizer if is_same else load_tokenizer(plan.weights.directory)
        if plan.run is None:
            return Renderer.for_model(tokenizer, "auto", base.loaded.stop_ids)
        with _damage_named(plan.reference):
            return stored_renderer(plan.run, tokenizer)

    def _put_on(self, weights: _Weights, base: BaseNetwork, adapter_dir: Path) -> str:
        self._num_adapters += 1
        name = f"adapter-{self._num_adapters}"  # a run's name may have a dot, which peft does not take
        self._with_adapters[weights] = load_adapter(self._with_adapters.get(weights, base.network), adapter_dir, name=name).eval()
        return name

    def let_bases_stand(self) -> None:
        """So that a shared network is by itself what it was before the adapters."""
        for weights, network in self._with_adapters.items():
            if not weights.only_for:
                network.base_model.disable_adapter_layers()
