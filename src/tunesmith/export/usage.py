"""How to load each kind of export, for its card."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from tunesmith.export.subject import Subject

_ASK = """messages = [{"role": "user", "content": "..."}]
ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)
answer = model.generate(**ids, max_new_tokens=256)
print(tokenizer.decode(answer[0, ids["input_ids"].shape[1]:], skip_special_tokens=True))"""
_GO_ON = """ids = tokenizer("Once upon", return_tensors="pt")
print(tokenizer.decode(model.generate(**ids, max_new_tokens=256)[0], skip_special_tokens=True))"""

_FOUR_BITS = 'four_bits = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True)'
"""As `engine.quantize.loading_options` has it."""
_NEW_ROWS = """if len(tokenizer) > base.get_input_embeddings().weight.shape[0]:  # the tokens that were added
    base.resize_token_embeddings(len(tokenizer))"""

_GREEDY = "--temp 0 --top-k 0 --top-p 1 --min-p 0 --repeat-penalty 1"
"""As evaluations ask; what llama.cpp does by itself is in the README of its server (0.8, 40, 0.95, 0.05, 1)."""


def merged(subject: Subject) -> str:
    """With transformers."""
    lines = [
        "from transformers import AutoModelForCausalLM, AutoTokenizer",
        "",
        'tokenizer = AutoTokenizer.from_pretrained("FOLDER_OR_REPOSITORY")',
        'model = AutoModelForCausalLM.from_pretrained("FOLDER_OR_REPOSITORY", dtype="auto")',
        _asking(subject),
    ]
    return _python(lines)


def adapter(subject: Subject) -> str:
    """With PEFT, on its base as it was in training: with rows for new tokens, in four bits where it was."""
    base = subject.origin.hub_id or "FOLDER_OF_THE_BASE_MODEL"
    config = subject.run.record()["config"] if subject.run else {}
    in_four_bits = config.get("method") == "qlora"
    options = ', quantization_config=four_bits, device_map="auto"' if in_four_bits else ""
    lines = [
        "from peft import PeftModel",
        f"from transformers import AutoModelForCausalLM, AutoTokenizer{', BitsAndBytesConfig' if in_four_bits else ''}",
        "",
        'tokenizer = AutoTokenizer.from_pretrained("FOLDER_OR_REPOSITORY")',
        *([_FOUR_BITS] if in_four_bits else []),
        f'base = AutoModelForCausalLM.from_pretrained("{base}", dtype="auto"{options})',
        *([_NEW_ROWS] if config.get("new_tokens") else []),
        'model = PeftModel.from_pretrained(base, "FOLDER_OR_REPOSITORY")',
        _asking(subject),
    ]
    note = f"The adapter was trained on this base model as: {subject.origin.source}." if subject.origin.source else ""
    return "\n\n".join(part for part in (_python(lines), note) if part)


def gguf(file_name: str) -> str:
    """With llama.cpp."""
    lines = [f"{program} -m {shlex.quote(file_name)} {_GREEDY}" for program in ("llama-server", "llama-cli")]
    note = "Greedy, nothing left out or penalised; without these options llama.cpp samples at a temperature of its own (0.8)."
    return "```sh\n" + "\n".join(lines) + f"\n```\n\n{note}"


def ollama(name: str, limits: Sequence[str]) -> str:
    """With Ollama; what its template cannot do."""
    command = f"```sh\nollama create {name.lower()} -f Modelfile\nollama run {name.lower()}\n```"
    if not limits:
        return command
    return "\n\n".join(
        [command, "Conversations that Ollama's template renders otherwise than ours:", "\n".join(f"- {one}" for one in limits)]
    )


def _asking(subject: Subject) -> str:
    return _GO_ON if subject.opened.trained_on_text else _ASK


def _python(lines: Sequence[str]) -> str:
    return "```python\n" + "\n".join(lines) + "\n```"
