"""Opening a model by any reference (a name, a folder, a run), always with the renderer it has to be used with.

>>> opened = open_model("runs/faq")
>>> opened.complete(["How do I reset my password?"])
[Completion(text='Open Settings …', …)]
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import peft
from transformers import PreTrainedModel

from tunesmith import assets
from tunesmith.assets.folders import check_model_folder
from tunesmith.config import ADAPTER_METHODS, GenerateConfig
from tunesmith.engine.adapters import load_adapter
from tunesmith.engine.generation.generate import generate
from tunesmith.engine.loading import (
    LoadedModel,
    add_to_tokenizer,
    choose_device,
    choose_dtype,
    load_model,
    load_tokenizer,
    weights_fingerprint,
)
from tunesmith.engine.vocabulary import add_new_tokens
from tunesmith.errors import DataError, RunError
from tunesmith.render.renderer import Renderer
from tunesmith.runs import RunDirectory, is_run, open_run
from tunesmith.types import Completion, Message


class PromptFit(NamedTuple):
    """How a model's prompts are rendered and cut."""

    renderer: Renderer
    context_length: int
    trained_on_text: bool

    def prompt_ids(self, messages: Sequence[Message], config: GenerateConfig, *, fields: Mapping[str, str], place: str) -> tuple[int, ...]:
        """See `OpenedModel.prompt_ids`."""
        room = max(1, self.context_length - config.max_new_tokens)
        room = min(room, config.max_prompt_tokens or room)
        if not self.trained_on_text:
            return self.renderer.fit_prompt(messages, fields, room, place=place)
        ids = self.renderer.text_prompt_ids(messages[-1].content)
        if not 0 < len(ids) <= room:
            raise DataError(
                place,
                f"a text of {len(ids):,} tokens to continue",
                expected=f"1 to {room:,}",
                remedy="shorten it, or lower --max-new-tokens" if ids else "write how the text begins",
            )
        return ids


@dataclass(frozen=True, kw_only=True)
class OpenedModel:
    """A network, adapter included, and its renderer."""

    loaded: LoadedModel
    network: PreTrainedModel | peft.PeftModel
    renderer: Renderer
    trained_on_text: bool = False
    """Tuned on raw text: a prompt is continued as it stands, without a template."""

    def complete(
        self,
        conversations: Sequence[Sequence[Message]],
        config: GenerateConfig,
        *,
        fields: Sequence[Mapping[str, str]] | None = None,
        on_progress: Callable[[int], None] | None = None,
    ) -> list[Completion]:
        """Answer every conversation (each ends in a user message)."""
        prompts = [
            self.prompt_ids(messages, config, fields=fields[i] if fields else {}, place=f"prompt {i + 1}")
            for i, messages in enumerate(conversations)
        ]
        return self.complete_prompts(prompts, config, on_progress=on_progress)

    def complete_prompts(
        self, prompts: Sequence[Sequence[int]], config: GenerateConfig, *, on_progress: Callable[[int], None] | None = None
    ) -> list[Completion]:
        """Answer prompts that `prompt_ids` has rendered."""
        return generate(
            self.hugging_face_network,
            prompts,
            config,
            stop_ids=self.renderer.stop_ids,
            context_length=self.loaded.context_length,
            parse=self.renderer.parse,
            on_progress=on_progress,
        )

    def prompt_ids(self, messages: Sequence[Message], config: GenerateConfig, *, fields: Mapping[str, str], place: str) -> tuple[int, ...]:
        """Render a prompt into what the context leaves beside the new tokens, cutting it as training would.

        Raises:
            DataError: it does not fit even when cut; a text to be continued is never cut.
        """
        fit = PromptFit(self.renderer, self.loaded.context_length, self.trained_on_text)
        return fit.prompt_ids(messages, config, fields=fields, place=place)

    @property
    def hugging_face_network(self) -> PreTrainedModel:
        """The transformers model itself; an adapter lives inside its layers."""
        return self.network.get_base_model() if isinstance(self.network, peft.PeftModel) else self.network


def open_model(
    reference: str | Path,
    *,
    template: str = "auto",
    dtype: str = "auto",
    device: str = "auto",
    say: Callable[[str], None] | None = None,
) -> OpenedModel:
    """Open a run's tuned model, or any other model with a template.

    Raises:
        AssetError: there is no such model.
        RunError: the run has not finished, or its renderer no longer gives the tokens it was trained with.
    """
    if is_run(reference):
        return open_tuned(open_run(Path(reference)), dtype=dtype, device=device)
    resolved = assets.resolve_model(str(reference), on_progress=say)
    loaded = load(resolved.directory, dtype=dtype, device=device)
    renderer = Renderer.for_model(loaded.tokenizer, template, loaded.stop_ids)
    return OpenedModel(loaded=loaded, network=loaded.network, renderer=renderer)


def open_tuned(run: RunDirectory, *, dtype: str = "auto", device: str = "auto") -> OpenedModel:
    """Open what a run produced, checking its renderer's fingerprint.

    An adapter is put on the base it was trained on: of `qlora` the same four-bit weights, whatever `dtype` is.
    """
    manifest = run.manifest()
    if manifest["method"] in ADAPTER_METHODS:
        loaded = load_base(run.record(), dtype=dtype, device=device)
        network: PreTrainedModel | peft.PeftModel = load_adapter(loaded.network, run.model_dir).eval()
    else:
        check_model_folder(run.model_dir)
        loaded = load(run.model_dir, dtype=dtype, device=device)
        network = loaded.network
    renderer = stored_renderer(run, loaded.tokenizer)
    return OpenedModel(loaded=loaded, network=network, renderer=renderer, trained_on_text=manifest["trained_on_text"])


def open_base(run: RunDirectory, *, dtype: str = "auto", device: str = "auto") -> OpenedModel:
    """Open the model a run started from, with the run's renderer: the same prompts, token for token.

    New tokens have the rows they had before the first step, and the base of a `qlora` run is in four bits, as in training:
    what the comparison with the tuned model shows is the training, not the rounding.
    """
    loaded = load_base(run.record(), dtype=dtype, device=device)
    trained_on_text = run.manifest()["trained_on_text"]
    return OpenedModel(
        loaded=loaded, network=loaded.network, renderer=stored_renderer(run, loaded.tokenizer), trained_on_text=trained_on_text
    )


def load_base(record: Mapping[str, Any], *, dtype: str, device: str) -> LoadedModel:
    """The base model of a run, with the run's new tokens."""
    config = record["config"]
    loaded = load(base_directory(record), dtype=dtype, device=device, quantize=config["method"] == "qlora")
    add_new_tokens(loaded, config.get("new_tokens", ()))  # runs of earlier versions have no such setting
    return loaded


def base_directory(record: Mapping[str, Any]) -> Path:
    """Folder of the base model of a run, fetched again when the cache lost it.

    Raises:
        AssetError: the folder the run names is gone and the model cannot be had again.
        RunError: the weights in it are not those of the run.
    """
    model = record["model"]
    directory = Path(model["directory"])
    if not directory.is_dir():
        directory = assets.resolve_model(model["reference"]).directory
    expected = model.get("weights")  # runs of earlier versions did not note it
    if expected and (found := weights_fingerprint(directory)) != expected:
        raise RunError(
            str(directory),
            f"the base model's weights have changed since the run started (fingerprint {found})",
            expected=f"fingerprint {expected}",
            remedy="restore the folder's safetensors files, or train again",
        )
    return directory


def run_tokenizer(run: RunDirectory) -> Any:
    """The base's tokenizer with the run's new tokens; quick, for what needs no network.

    Raises:
        AssetError, RunError: see `base_directory`.
    """
    record = run.record()
    tokenizer = load_tokenizer(base_directory(record))
    add_to_tokenizer(tokenizer, record["config"].get("new_tokens", ()))  # runs of earlier versions have no such setting
    return tokenizer


def stored_renderer(run: RunDirectory, tokenizer: Any) -> Renderer:
    """The renderer of a run.

    Raises:
        RunError: template or tokenizer give other tokens than in training.
    """
    record = run.renderer_record()
    renderer = Renderer.from_record(tokenizer, record)
    if renderer.fingerprint != record["fingerprint"]:
        raise RunError(
            str(run.path),
            f"the renderer's fingerprint is {renderer.fingerprint}",
            expected=f"{record['fingerprint']}, as in training (same template, same tokenizer)",
            remedy="restore the base model's tokenizer files, or train again",
        )
    return renderer


def load(directory: Path, *, dtype: str, device: str, quantize: bool = False) -> LoadedModel:
    """Load with the choices of the command line."""
    chosen = choose_device(device)  # type: ignore[arg-type]
    return load_model(directory, dtype=choose_dtype(dtype, chosen), device=chosen, quantize=quantize)  # type: ignore[arg-type]
