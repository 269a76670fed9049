"""Runs beside each other in a browser."""

from __future__ import annotations

from typing import Any

import pytest

from tests.studio.made import HOSTILE_TEXT, make_run, record
from tests.studio.made_evaluation import add_evaluation
from tests.studio.server import Running
from tests.studio.workspace import Workspace

pytestmark = pytest.mark.browser


@pytest.fixture(autouse=True)
def evaluated(workspace: Workspace) -> None:
    data = workspace.prepared / "faq"
    for name, is_other in (("first", False), ("other", True)):
        config = {**record(5, data)["config"], "learning_rate": 2e-4 if is_other else 5e-4}
        run = make_run(workspace.runs, name, 5, data=data, state="evaluated", changes={"config": config})
        add_evaluation(run, num_examples=42, shift=is_other)


def test_scores_verdict_settings_and_examples(page: Any, running: Running) -> None:
    page.goto(f"{running.address}/compare?run=first")
    page.get_by_text("Choose two runs or more.").wait_for()
    page.get_by_label("Runs; the others are compared with the first").fill("other")
    page.get_by_role("option", name="other (tiny-llama)").click()
    page.keyboard.press("Escape")
    page.get_by_role("heading", name="Settings that differ").wait_for()
    assert "run=first&run=other" in page.url
    settings = page.locator("table", has_text="learning_rate").inner_text()
    assert "0.0005" in settings
    assert "0.0002" in settings
    assert "epochs" not in settings
    page.get_by_text("first to other: 2 newly right, 0 newly wrong").wait_for(timeout=60_000)
    page.get_by_label("How they differ").click()
    page.get_by_role("option", name="first wrong, another right").click()
    page.get_by_text("1 to 2 of 2 examples").wait_for()
    flips = page.locator(".ts-answers .ts-flip").all_inner_texts()
    assert flips == ["wrong", "right"] * 2


def test_other_examples_are_told_and_the_shared_ones_compared(page: Any, running: Running, workspace: Workspace) -> None:
    add_evaluation(make_run(workspace.runs, "fewer", 6, data=workspace.prepared / "faq", state="evaluated"), num_examples=30)
    page.goto(f"{running.address}/compare?run=first&run=fewer")
    page.get_by_role("button", name="Compare on the examples that all have").click(timeout=60_000)
    page.get_by_text("first to fewer: 0 newly right, 0 newly wrong").wait_for(timeout=60_000)


def test_nothing_of_a_run_is_markup(page: Any, running: Running, workspace: Workspace) -> None:
    data = workspace.prepared / "faq"
    name = "<img src=x onerror=alert(1)>"
    config = {**record(5, data)["config"], HOSTILE_TEXT: HOSTILE_TEXT, ":onclick": "alert(4)"}
    run = make_run(workspace.runs, name, 6, data=data, state="evaluated", changes={"config": config, "model": {"name": HOSTILE_TEXT}})
    add_evaluation(run, num_examples=42, hostile=HOSTILE_TEXT)
    page.goto(f"{running.address}/compare?run=first&run=%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E")
    page.locator(".ts-answers").first.wait_for()
    page.wait_for_timeout(1500)
    assert HOSTILE_TEXT in page.locator(".ts-main").inner_text()
    assert page.locator("img").count() == 0


def test_at_the_width_of_a_phone(page: Any, running: Running) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"{running.address}/compare?run=first&run=other")
    page.locator(".ts-answers").first.wait_for()
    page.wait_for_timeout(800)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
