"""How to load each kind of export, for its card."""

from __future__ import annotations

from collections.abc import Sequence

from tunesmith.export.subject import Subject

_ASK = """messages = [{"role": "user", "content": "..."}]
ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)
answer = model.generate(**ids, max_new_tokens=256)
print(tokenizer.decode(answer[0, ids["input_ids"].shape[1]:], skip_special_tokens=True))"""
_GO_ON = """ids = tokenizer("Once upon", return_tensors="pt")
print(tokenizer.decode(model.generate(**ids, max_new_tokens=256)[0], skip_special_tokens=True))"""


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
    """With PEFT, on its base."""
    base = subject.origin.hub_id or "FOLDER_OF_THE_BASE_MODEL"
    lines = [
        "from peft import PeftModel",
        "from transformers import AutoModelForCausalLM, AutoTokenizer",
        "",
        'tokenizer = AutoTokenizer.from_pretrained("FOLDER_OR_REPOSITORY")',
        f'base = AutoModelForCausalLM.from_pretrained("{base}", dtype="auto")',
        'model = PeftModel.from_pretrained(base, "FOLDER_OR_REPOSITORY")',
        _asking(subject),
    ]
    note = f"The adapter was trained on this base model as: {subject.origin.source}." if subject.origin.source else ""
    return "\n\n".join(part for part in (_python(lines), note) if part)


def gguf(file_name: str) -> str:
    """With llama.cpp."""
    return f"```sh\nllama-server -m {file_name}\nllama-cli -m {file_name}\n```"


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
