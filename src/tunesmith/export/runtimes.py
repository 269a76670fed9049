"""The programs that exports are made for, each behind the same three questions: a prompt's tokens, a greedy answer, log-probabilities.

>>> runtime = TransformersRuntime(Path("exports/faq-merged"), device="cpu")
>>> runtime.prompt_ids(prompt); runtime.answer(token_ids, 24); runtime.logprobs(token_ids, answer_ids)

Each loads what was exported by the runtime's own code and nothing of ours, so that it sees what a user will see.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from tunesmith.export.prompts import ParityPrompt

LLAMA_CPP_ABSENT = "not checked by llama.cpp: llama-cpp-python is not installed; `pip install llama-cpp-python`"


class Runtime(Protocol):
    """One way to run an export."""

    @property
    def name(self) -> str:
        """With its version."""
        ...

    def prompt_ids(self, prompt: ParityPrompt) -> list[int]:
        """By the export's own tokenizer and template."""
        ...

    def answer(self, prompt_ids: Sequence[int], max_new_tokens: int) -> list[int]:
        """Greedy, the token it stopped at included."""
        ...

    def logprobs(self, prompt_ids: Sequence[int], answer_ids: Sequence[int]) -> list[float]:
        """Nats of every token of an answer that is given."""
        ...


class TransformersRuntime:
    """A folder that `from_pretrained` loads; or an adapter's folder, put on its base by PEFT."""

    def __init__(self, network: Any, tokenizer: Any, name: str) -> None:
        """A network in evaluation mode and its tokenizer; see the class methods."""
        self._network, self._tokenizer, self.name = network, tokenizer, name

    @classmethod
    def of_folder(cls, folder: Path, *, device: str) -> TransformersRuntime:
        """A merged model, in the type it is stored in."""
        network = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True, use_safetensors=True, dtype="auto")
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        return cls(network.to(torch.device(device)).eval(), tokenizer, f"transformers {metadata.version('transformers')}")

    @classmethod
    def of_adapter(cls, adapter: Path, base: PreTrainedModel) -> TransformersRuntime:
        """An adapter's folder, put by PEFT on its base as it was in training: in float32, new tokens added, four bits where it had them."""
        network = PeftModel.from_pretrained(base, str(adapter), autocast_adapter_dtype=False)
        tokenizer = AutoTokenizer.from_pretrained(adapter, local_files_only=True)
        return cls(network.eval(), tokenizer, f"PEFT {metadata.version('peft')}")

    def prompt_ids(self, prompt: ParityPrompt) -> list[int]:
        if prompt.is_text:
            return list(self._tokenizer(prompt.messages[0].content).input_ids)
        turns = [{"role": message.role, "content": message.content} for message in prompt.messages]
        ids = self._tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=False, **prompt.fields)
        return [int(token) for token in ids]

    @torch.no_grad()
    def answer(self, prompt_ids: Sequence[int], max_new_tokens: int) -> list[int]:
        ids = torch.tensor([list(prompt_ids)], device=self._network.device)
        made = self._network.generate(input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=max_new_tokens, do_sample=False)
        return [int(token) for token in made[0, ids.shape[1] :]]

    @torch.no_grad()
    def logprobs(self, prompt_ids: Sequence[int], answer_ids: Sequence[int]) -> list[float]:
        ids = torch.tensor([[*prompt_ids, *answer_ids]], device=self._network.device)
        logits = self._network(input_ids=ids, use_cache=False).logits[0, len(prompt_ids) - 1 : -1].float()
        return [float(one) for one in logits.log_softmax(-1).gather(1, ids[0, len(prompt_ids) :, None])[:, 0]]


def has_llama_cpp() -> bool:
    """Whether llama-cpp-python is installed."""
    return find_spec("llama_cpp") is not None


class LlamaCppRuntime:
    """A GGUF file in llama.cpp, through llama-cpp-python; keys and values in float32, so that the weights alone differ.

    An answer ends where llama.cpp takes a token of this file for an end of generation.
    """

    def __init__(self, file: Path, *, context_length: int, render: Any, stop_ids: frozenset[int] = frozenset()) -> None:
        """See the class.

        Args:
            file: with tokenizer and special ids.
            context_length: tokens.
            render: turns a prompt into the text that the export's own template gives (llama.cpp's is Jinja, Ollama's Go).
            stop_ids: which the export names beside the file's own, as a Modelfile does.
        """
        import llama_cpp  # type: ignore[import-not-found,unused-ignore]

        self.name = f"llama.cpp (llama-cpp-python {metadata.version('llama-cpp-python')})"
        self._render, self._stop_ids = render, stop_ids
        self._model = llama_cpp.Llama(
            model_path=str(file), n_ctx=context_length, n_threads=torch.get_num_threads(), logits_all=True, type_k=0, type_v=0,
            n_gpu_layers=0, verbose=False,
        )  # fmt: skip
        vocabulary = self._model._model.vocab  # shown nowhere else
        self._ends: Callable[[int], bool] = lambda token: bool(llama_cpp.llama_vocab_is_eog(vocabulary, token))
        self._adds_bos = self._model.metadata.get("tokenizer.ggml.add_bos_token") == "true"

    def prompt_ids(self, prompt: ParityPrompt) -> list[int]:
        text = prompt.messages[0].content if prompt.is_text else self._render(prompt)
        return list(self._model.tokenize(text.encode(), add_bos=self._adds_bos, special=not prompt.is_text))

    def answer(self, prompt_ids: Sequence[int], max_new_tokens: int) -> list[int]:
        found: list[int] = []
        for token in self._model.generate(list(prompt_ids), temp=0.0, repeat_penalty=1.0):
            found.append(int(token))
            if self._ends(token) or token in self._stop_ids or len(found) == max_new_tokens:
                break
        return found

    def logprobs(self, prompt_ids: Sequence[int], answer_ids: Sequence[int]) -> list[float]:
        self._model.reset()
        self._model.eval([*prompt_ids, *answer_ids])
        logits: NDArray[np.float64] = np.array(self._model.scores[len(prompt_ids) - 1 : len(prompt_ids) + len(answer_ids) - 1], np.float64)
        logits -= logits.max(-1, keepdims=True)
        normal = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        return [float(row[token]) for row, token in zip(normal, answer_ids, strict=True)]
