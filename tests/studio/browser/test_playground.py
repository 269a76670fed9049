"""The playground in a browser, on a tiny model: both columns stream, stop, save as an example, guardrails, hostile texts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.studio.made import HOSTILE_TEXT
from tests.studio.server import Running
from tests.studio.workspace import Workspace
from tunesmith import TrainedRun

pytestmark = pytest.mark.browser
LOADING = 120_000
"""Milliseconds in which the first answer must have come: loading the engine is most of it."""


@pytest.fixture
def chat(page: Any, running: Running) -> Any:
    page.goto(running.address + "/playground?run=faq-1")
    page.get_by_label("Prompt", exact=True).wait_for()
    return page


def settings(chat: Any, **values: str) -> None:
    chat.get_by_text("Sampling and system message").click()
    for label, value in values.items():
        chat.get_by_label(label.replace("_", " ")).fill(value)


def say(chat: Any, text: str) -> None:
    """Send, and wait until the page has taken it."""
    before = chat.locator("[data-side]").count()
    chat.get_by_label("Prompt", exact=True).fill(text)
    chat.keyboard.press("Enter")
    chat.locator("[data-side]").nth(before).wait_for()


def texts(chat: Any) -> dict[str, str]:
    return {side: str(chat.locator(f"[data-side={side}] .ts-text").last.inner_text()) for side in ("base", "tuned")}


def wait_for_end(chat: Any) -> None:
    chat.get_by_role("button", name="Send", disabled=False).wait_for(timeout=LOADING)


def test_both_stream_and_an_answer_becomes_an_example(chat: Any, workspace: Workspace, tmp_path: Path) -> None:
    chat.evaluate("""() => {
        window.seen = {base: new Set(), tuned: new Set()};
        new MutationObserver(() => document.querySelectorAll('[data-side]').forEach(one => {
            window.seen[one.dataset.side].add(one.querySelector('.ts-text')?.textContent ?? '');
        })).observe(document.body, {subtree: true, childList: true, characterData: true});
    }""")
    settings(chat, Most_new_tokens="90", Temperature="1.5")
    say(chat, "What colour is number 3?")
    wait_for_end(chat)
    first = texts(chat)
    assert first["base"] != first["tuned"]
    for side in ("base", "tuned"):
        parts = sorted(chat.evaluate("side => [...window.seen[side]]", side), key=len)
        assert len(parts) >= 3, "it came in one piece"
        assert all(first[side].startswith(part.rstrip()) for part in parts)
    say(chat, "And number 4?")
    wait_for_end(chat)
    assert chat.locator("[data-side]").count() == 4
    chat.locator("[data-side=tuned]").last.get_by_role("button", name="Save as an example").click()
    chat.get_by_text("With the 2 messages before it.").wait_for()
    chat.get_by_label("Answer to learn").fill("Number 4 is green.")
    chat.get_by_role("textbox", name="File").fill("../escape")
    chat.get_by_role("button", name="Save", exact=True).click()
    chat.get_by_text("the file's name: '../escape'").wait_for()
    chat.get_by_role("textbox", name="File").fill("chats.jsonl")
    chat.get_by_role("button", name="Save", exact=True).click()
    chat.get_by_text("To train on it: tunesmith prepare").wait_for()
    [line] = (workspace.prepared / "chats.jsonl").read_text(encoding="utf-8").splitlines()
    (workspace.prepared / "chats.jsonl").unlink()  # the directory is all tests'
    messages = json.loads(line)["messages"]
    assert [one["role"] for one in messages] == ["user", "assistant", "user", "assistant"]
    assert messages[0]["content"] == "What colour is number 3?"
    assert messages[-1]["content"] == "Number 4 is green."


def test_stop_before_and_while_it_answers(chat: Any) -> None:
    settings(chat, Most_new_tokens="200", Temperature="1.5")
    say(chat, "What colour is number 1?")
    chat.get_by_role("button", name="Stop").click()
    chat.get_by_text("stopped", exact=True).first.wait_for(timeout=LOADING)  # while the engine was loading: nothing was asked
    wait_for_end(chat)
    assert texts(chat) == {"base": "", "tuned": ""}
    chat.evaluate("""() => {
        const stop = [...document.querySelectorAll('button')].find(one => one.textContent.includes('Stop'));
        const watch = new MutationObserver(() => {
            const last = [...document.querySelectorAll('[data-side=base] .ts-text')].at(-1);
            if (last && last.textContent.length > 2) { watch.disconnect(); stop.click(); }
        });
        watch.observe(document.body, {subtree: true, childList: true, characterData: true});
    }""")
    say(chat, "What colour is number 2?")
    chat.locator("[data-side=base]").last.get_by_text("; stopped").wait_for(timeout=LOADING)
    wait_for_end(chat)
    assert texts(chat)["base"]


def test_settings_that_cannot_be_are_told(chat: Any) -> None:
    settings(chat, Temperature="warm")
    chat.get_by_label("Prompt", exact=True).fill("What colour is number 1?")
    chat.keyboard.press("Enter")
    chat.get_by_text("Temperature (0: greedy): 'warm' is no number").wait_for()
    chat.get_by_label("Temperature").fill("1")
    chat.get_by_label("Top p").fill("1.5")
    chat.get_by_role("button", name="Send").click()
    chat.get_by_text("top_p").first.wait_for()
    assert chat.locator("[data-side]").count() == 0


def test_a_phone_and_hostile_text(chat: Any) -> None:
    chat.set_viewport_size({"width": 390, "height": 844})
    chat.get_by_text("Guardrails", exact=True).click()
    settings(chat, Most_new_tokens="4")
    say(chat, HOSTILE_TEXT + " mail ann@example.com")
    wait_for_end(chat)
    assert HOSTILE_TEXT in chat.locator(".ts-said").inner_text()
    assert chat.locator("img").count() == 0
    chat.get_by_text("pii prompt mask: 1 e-mail address").first.wait_for()
    assert chat.evaluate("document.documentElement.scrollWidth") == 390
    chat.get_by_role("button", name="Save as an example").first.click()
    assert HOSTILE_TEXT in chat.get_by_label("Prompt of the example").input_value()
    assert chat.locator("img").count() == 0


def test_a_file_of_rules_by_keyboard(chat: Any, tmp_path: Path) -> None:
    """What is wrong with it is said before anything is asked."""
    (tmp_path / "house.yaml").write_text("profanity: {prompts: block, answer: Not in this house.}\n", encoding="utf-8")
    (tmp_path / "wrong.yaml").write_text("profanity: {prompt: block}\n", encoding="utf-8")
    chat.reload()
    switch = chat.get_by_role("switch", name="Guardrails")
    switch.focus()
    chat.keyboard.press("Space")
    file = chat.get_by_label("Rules file")
    for name, problem in (("../../etc/passwd", "lies elsewhere"), ("missing.yaml", "there is no file"), ("wrong.yaml", "wrong.yaml:")):
        file.fill(name)
        chat.keyboard.press("Enter")
        chat.get_by_role("alert").filter(has_text=problem).wait_for()
        chat.get_by_label("Prompt", exact=True).fill("What?")
        chat.keyboard.press("Enter")
        chat.locator(".q-notification").filter(has_text=problem).first.wait_for()
        assert chat.locator("[data-side]").count() == 0
    file.click()
    chat.get_by_role("option", name="house.yaml").click()
    chat.get_by_role("alert").filter(has_text="wrong.yaml").wait_for(state="hidden")
    assert not chat.get_by_label("Rules", exact=True).is_visible()
    say(chat, "What the fuck?")
    wait_for_end(chat)
    assert texts(chat) == {"base": "Not in this house.", "tuned": "Not in this house."}


def test_the_addresses_that_training_prints_lead_here(page: Any, running: Running, workspace: Workspace) -> None:
    trained = TrainedRun(id="faq-1", directory=workspace.runs / "faq-1")
    default = "http://127.0.0.1:8080"
    page.goto(trained.dashboard_url.replace(default, running.address))
    page.get_by_role("heading", name="faq-1", level=1).wait_for()
    page.goto(trained.playground_url.replace(default, running.address))
    page.get_by_role("heading", name="Playground", level=1).wait_for()
    assert "faq-1" in page.get_by_label("Run", exact=True).input_value()
    assert trained.studio_command.startswith("tunesmith studio --runs ")
