"""Models by name: where they can be had, pinned checksums, the local cache.

    resolved = resolve_model("smollm2-135m-instruct", on_progress=print)
    AutoModelForCausalLM.from_pretrained(resolved.directory)

A reference is a named model, a folder with safetensors, a `.gguf` file, or a hub id; see `resolve_model`. Importing this
package imports neither torch nor transformers nor huggingface_hub, so that `tunesmith models` answers at once.
"""

from __future__ import annotations

from tunesmith.assets.cache import cache_dir
from tunesmith.assets.catalog import NAMED_MODELS, NamedModel, Terms, Wheel
from tunesmith.assets.convert import convert_gguf
from tunesmith.assets.resolve import DEFAULT_SOURCES, ResolvedModel, Sources, resolve_model
from tunesmith.assets.sentence_models import DEFAULT_SENTENCE_MODEL, SENTENCE_MODELS, SentenceModel, resolve_sentence_model
from tunesmith.assets.status import ModelStatus, list_models
from tunesmith.assets.terms import accept_terms, terms_text

__all__ = [
    "DEFAULT_SENTENCE_MODEL",
    "DEFAULT_SOURCES",
    "NAMED_MODELS",
    "SENTENCE_MODELS",
    "ModelStatus",
    "NamedModel",
    "ResolvedModel",
    "SentenceModel",
    "Sources",
    "Terms",
    "Wheel",
    "accept_terms",
    "cache_dir",
    "convert_gguf",
    "list_models",
    "resolve_model",
    "resolve_sentence_model",
    "terms_text",
]
