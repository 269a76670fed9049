"""Exact tokens of the two named models. The ids below were printed by

for model, template in (("smollm2-135m-instruct", "chat"), ("smollm2-135m-instruct", "qa"), ("gemma3-270m", "qa")):
    tokenizer = load_tokenizer(resolve_model(model).directory)
    print(model, template, list(Renderer.for_model(tokenizer, template).render(EXAMPLE).token_ids))
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from tests.samples import conversation, messages, qa, raw
from tunesmith.assets import resolve_model
from tunesmith.engine.loading import load_tokenizer
from tunesmith.errors import AssetError
from tunesmith.render.checks import find_fault
from tunesmith.render.renderer import Renderer

pytestmark = pytest.mark.slow

EXAMPLE = qa("What is LoRA?", "A low-rank adapter.")

SYSTEM = [1, 9690, 198, 2683, 359, 253, 5356, 5646, 11173, 3365, 3511, 308, 34519, 28, 7018, 411, 407, 19712, 8182, 2, 198]
QUESTION = [2, 10354, 19566, 236787, 107, 3689, 563, 8372, 4428, 236881, 108]
GOLDEN = {
    ("smollm2-135m-instruct", "chat"): (
        [*SYSTEM, 1, 4093, 198, 1780, 314, 14210, 7055, 47, 2, 198, 1, 520, 9531, 198, 49, 1642, 29, 12797, 33303, 30, 2],
        [49, 1642, 29, 12797, 33303, 30, 2],
    ),
    ("smollm2-135m-instruct", "qa"): (
        [3757, 15232, 42, 198, 1780, 314, 14210, 7055, 47, 198, 198, 3757, 19842, 42, 198, 49, 1642, 29, 12797, 33303, 30, 2],
        [49, 1642, 29, 12797, 33303, 30, 2],
    ),
    ("gemma3-270m", "qa"): (
        [*QUESTION, 10354, 25685, 236787, 107, 236776, 2708, 236772, 15080, 25537, 236761, 1],
        [236776, 2708, 236772, 15080, 25537, 236761, 1],
    ),
}


def tokenizer_of(name: str) -> Any:
    patch = pytest.MonkeyPatch()
    patch.setenv("TUNESMITH_ACCEPT_TERMS", "gemma3-270m")
    try:
        return load_tokenizer(resolve_model(name).directory)
    except AssetError as error:
        pytest.skip(f"{name} cannot be had: {error}")
    finally:
        patch.undo()


@pytest.fixture(scope="module")
def smollm2() -> Any:
    return tokenizer_of("smollm2-135m-instruct")


@pytest.fixture(scope="module")
def gemma3() -> Any:
    return tokenizer_of("gemma3-270m")


@pytest.mark.parametrize(("model", "template"), list(GOLDEN))
def test_exact_tokens(request: pytest.FixtureRequest, model: str, template: str) -> None:
    tokenizer = request.getfixturevalue("smollm2" if model.startswith("smollm2") else "gemma3")
    rendered = Renderer.for_model(tokenizer, template).render(EXAMPLE)
    token_ids, supervised = GOLDEN[model, template]
    assert list(rendered.token_ids) == token_ids
    assert [t for t, s in zip(rendered.token_ids, rendered.supervised, strict=True) if s] == supervised
    assert rendered.supervised == (False,) * (len(token_ids) - len(supervised)) + (True,) * len(supervised)


def test_smollm2_follows_its_own_template(smollm2: Any) -> None:
    renderer = Renderer.for_model(smollm2, "chat")
    example = conversation(
        ("s", "Be kind."), ("u", "What is 2 + 2?"), ("a", "4"), ("u", "And in Japanese (日本語)?"), ("a", "四です。\n\nDone.")
    )
    turns = [{"role": m.role, "content": m.content} for m in example.messages]
    rendered = renderer.render(example)
    assert list(rendered.token_ids) == smollm2.apply_chat_template(turns, return_dict=False)[:-1]
    own_prompt = smollm2.apply_chat_template(turns[:-1], add_generation_prompt=True, return_dict=False)
    assert list(renderer.prompt_ids(example.prompt_messages)) == own_prompt
    trained = [t for t, s in zip(rendered.token_ids, rendered.supervised, strict=True) if s]
    assert renderer.decode(trained) == "4<|im_end|>四です。\n\nDone.<|im_end|>"


def test_gemma3_qa_is_what_its_tokenizer_makes_of_the_whole_text(gemma3: Any) -> None:
    rendered = Renderer.for_model(gemma3, "qa").render(qa("Who wrote “Faust”?", "Goethe, in two parts."))
    own = gemma3("### Question:\nWho wrote “Faust”?\n\n### Answer:\nGoethe, in two parts.").input_ids
    assert list(rendered.token_ids) == [*own, 1]
    text = Renderer.for_model(gemma3, "qa").render(raw("Two  spaces\n\n\nand lines."))
    assert list(text.token_ids) == [*gemma3("Two  spaces\n\n\nand lines.").input_ids, 1]


@pytest.mark.parametrize("name", ["smollm2", "gemma3"])
def test_laws_on_odd_text(request: pytest.FixtureRequest, name: str) -> None:
    renderer = Renderer.for_model(request.getfixturevalue(name), "auto")
    fragments = [
        *map(str, renderer.tokenizer.all_special_tokens[:8]),
        "日本",
        "\n\n",
        "  ",
        "\t",
        "e\u0301",
        "👩\u200d🚀",
        "ﬁ",
        "one",
        "### Answer:\n",
        "0",
    ]
    dice = random.Random(0)
    for _ in range(60):
        question, answer = ("".join(dice.choices(fragments, k=5)) for _ in range(2))
        example = qa(question, answer + "x")
        rendered = renderer.render(example)
        prompt = renderer.prompt_ids(example.prompt_messages)
        assert rendered.token_ids[: len(prompt)] == prompt
        assert renderer.parse(rendered.token_ids[len(prompt) :]) == answer + "x"
        assert find_fault(rendered, renderer, 10_000) is None
        assert question in renderer.decode(prompt)


def test_special_strings_of_users_are_text(smollm2: Any, gemma3: Any) -> None:
    chat, plain = Renderer.for_model(smollm2, "chat"), Renderer.for_model(gemma3, "qa")
    assert chat.prompt_ids(messages(("u", "<|im_end|>"))).count(2) == 2  # the template's own: system and user turn
    assert plain.render(qa("<bos><eos>", "<bos>")).token_ids.count(2) == 1


@pytest.mark.parametrize("name", ["smollm2", "gemma3"])
def test_fingerprint_survives_saving(request: pytest.FixtureRequest, name: str, tmp_path: Path) -> None:
    tokenizer = request.getfixturevalue(name)
    tokenizer.save_pretrained(tmp_path)
    assert Renderer.for_model(load_tokenizer(tmp_path), "auto").fingerprint == Renderer.for_model(tokenizer, "auto").fingerprint
