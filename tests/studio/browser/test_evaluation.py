"""The evaluation in a browser: metrics, flips, an error group, an example, down to its training rows."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.studio.made import HOSTILE_TEXT, make_run
from tests.studio.made_evaluation import add_analysis, add_evaluation
from tests.studio.server import Running
from tests.studio.workspace import Workspace

pytestmark = pytest.mark.browser


@pytest.fixture(autouse=True)
def evaluated(workspace: Workspace) -> None:
    run = make_run(workspace.runs, "faq-seen", 7, data=workspace.prepared / "faq", state="evaluated")
    add_evaluation(run)
    add_analysis(run)


def test_from_the_runs_to_an_error_group_to_an_example_to_its_training_rows(page: Any, running: Running) -> None:
    page.goto(f"{running.address}/evaluation")
    page.get_by_role("link", name="faq-seen").click()
    page.get_by_role("heading", name="faq-seen", level=1).wait_for()
    assert "[+0.05, +0.13]" in page.locator("table").first.inner_text()
    page.get_by_role("link", name="does not end its turn", exact=True).click()
    page.get_by_role("heading", name="does not end its turn", level=1).wait_for()
    page.get_by_text("1 to 8 of 8 examples").wait_for()
    page.get_by_role("link", name="faq.csv:5").first.click()
    page.get_by_role("heading", name="faq.csv:5", level=1).wait_for()
    page.get_by_text("it went on until max_new_tokens stopped it").first.wait_for()
    shared = page.locator(".ts-answers mark").all_inner_texts()
    assert any("Part 3 turns until it stops" in one for one in shared)
    page.locator(".ts-near").first.wait_for(timeout=20_000)
    first = page.locator(".ts-near").first
    assert re.search(r"faq\.jsonl:\d+", first.inner_text())
    first.get_by_role("link").click()
    page.get_by_role("heading", name=re.compile(r"^faq\.jsonl:\d+$"), level=1).wait_for()
    page.get_by_text("What colour is number").first.wait_for()


def test_search_filter_and_pages(page: Any, running: Running) -> None:
    page.goto(f"{running.address}/evaluation/faq-seen")
    page.get_by_text("1 to 10 of 40 examples").wait_for()
    page.get_by_role("button", name="Next").first.click()
    page.get_by_text("11 to 20 of 40 examples").wait_for()
    page.wait_for_url(re.compile("page=2"))
    page.reload()
    page.get_by_text("11 to 20 of 40 examples").wait_for()
    page.get_by_role("link", name=re.compile("newly wrong")).click()
    page.get_by_text("1 to 8 of 8 examples").wait_for()
    assert set(page.locator(".ts-flip").all_inner_texts()) == {"newly wrong"}
    page.get_by_label("Search in the examples").fill('"PART 13" question')
    page.get_by_text("1 to 1 of 1 examples").wait_for()
    page.get_by_label("Search in the examples").fill("nowhere")
    page.get_by_text("No example is like that.").wait_for()


def test_what_is_missing_is_told_with_its_command(page: Any, running: Running, workspace: Workspace) -> None:
    page.goto(f"{running.address}/evaluation/faq-1")
    page.get_by_text("tunesmith evaluate runs/faq-1").wait_for()
    add_evaluation(make_run(workspace.runs, "not-analysed", 8, data=workspace.prepared / "faq", state="evaluated"))
    page.goto(f"{running.address}/evaluation/not-analysed")
    page.get_by_text("tunesmith analyze runs/not-analysed").wait_for()


def test_nothing_of_an_evaluation_is_markup(page: Any, running: Running, workspace: Workspace) -> None:
    run = make_run(workspace.runs, "hostile", 9, data=workspace.prepared / "faq", state="evaluated")
    add_evaluation(run, num_examples=12, hostile=HOSTILE_TEXT)
    add_analysis(run, hostile=HOSTILE_TEXT)
    with (run / "evaluation" / "records.jsonl").open("a", encoding="utf-8") as file:
        file.write('not json\n[]\n{"id": 3}\n{"id": "odd", "prompt": 5, "answers": [], "messages": "no"}\n')
    page.goto(f"{running.address}/evaluation/hostile")
    page.get_by_text("3 lines of the records cannot be read").wait_for()
    page.locator(".ts-answers").first.wait_for()
    assert HOSTILE_TEXT in page.locator(".ts-main").inner_text()
    page.goto(f"{running.address}/evaluation/hostile/group?group=too_long")
    page.get_by_role("link", name="faq.csv:4").first.click()
    page.get_by_role("heading", name="Nearest training rows").wait_for()
    page.wait_for_timeout(1500)
    assert page.locator("img").count() == 0
    page.goto(f"{running.address}/evaluation/hostile/example?id=odd")
    page.get_by_role("heading", name="odd", level=1).wait_for()


def test_at_the_width_of_a_phone(page: Any, running: Running) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    for path in (
        "/evaluation",
        "/evaluation/faq-seen",
        "/evaluation/faq-seen/group?group=no_end",
        "/evaluation/faq-seen/example?id=test-000003",
    ):
        page.goto(running.address + path)
        page.locator("main h1").wait_for()
        page.wait_for_timeout(800)
        assert page.evaluate("document.documentElement.scrollWidth") == 390, path
