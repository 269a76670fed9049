"""Data sets in a browser: search, findings, tokens, and edits that become a new version."""

from __future__ import annotations

import json
import shutil
import urllib.error
import urllib.request
from typing import Any

import pytest

from tests.studio.made import HOSTILE_TEXT
from tests.studio.server import Running
from tests.studio.workspace import Workspace, tunesmith

pytestmark = pytest.mark.browser


@pytest.fixture
def workspace(made: Workspace, tmp_path: Any) -> Workspace:
    """Data sets of one's own, as well."""
    shutil.copytree(made.runs, tmp_path / "runs")
    shutil.copytree(made.prepared, tmp_path / "prepared")
    return Workspace(runs=tmp_path / "runs", prepared=tmp_path / "prepared", model=made.model)


def texts(data: Any) -> list[str]:
    lines = [
        line for split in ("train", "validation", "test") for line in (data / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    return [json.loads(line)["messages"][-1]["content"] for line in lines]


def test_one_row_is_edited_and_one_dropped_into_a_new_version(page: Any, running: Running, workspace: Workspace) -> None:
    before = sorted(texts(workspace.prepared / "faq"))
    page.goto(f"{running.address}/data")
    page.get_by_role("link", name="faq", exact=True).click()
    page.get_by_label("Search in the rows").fill('"number 7?"')
    page.get_by_text("1 to 1 of 1 rows").wait_for()
    page.get_by_role("button", name="Edit").click()
    page.get_by_role("textbox", name="Answer").fill("Number 7 is golden.")
    page.get_by_role("button", name="Keep this edit").click()
    page.get_by_role("heading", name="Changes to become a new version: 1").wait_for()
    page.get_by_label("Search in the rows").fill('"number 8?"')
    page.get_by_text("Number 8 is blue.").wait_for()
    page.get_by_role("button", name="Drop").click()
    page.get_by_role("heading", name="Changes to become a new version: 2").wait_for()
    page.get_by_label("Name of the new version").fill("faq-mended")
    page.wait_for_function("document.querySelector('pre.ts-code').textContent.includes('faq-mended')")
    assert "--review=" in page.locator("pre.ts-code").inner_text()
    page.get_by_role("button", name="Make the new version").click()
    page.get_by_role("heading", name="faq-mended", level=1).wait_for(timeout=90_000)
    assert sorted(texts(workspace.prepared / "faq")) == before
    after = sorted({*before, "Number 7 is golden."} - {"Number 7 is green.", "Number 8 is blue."})
    assert sorted(texts(workspace.prepared / "faq-mended")) == after
    page.get_by_label("Search in the rows").fill("golden")
    page.get_by_text("1 to 1 of 1 rows").wait_for()


def test_a_version_of_a_version_keeps_the_changes_of_both(page: Any, running: Running, workspace: Workspace) -> None:
    for number, (name, new) in enumerate((("faq", "second"), ("second", "third"))):
        page.goto(f"{running.address}/data?set={name}&words=%22number+{number}%3F%22")
        page.get_by_text("1 to 1 of 1 rows").wait_for()
        page.get_by_role("button", name="Drop").click()
        page.get_by_role("heading", name="Changes to become a new version: 1").wait_for()
        page.get_by_label("Name of the new version").fill(new)
        page.wait_for_function(f"document.querySelector('pre.ts-code').textContent.includes('{new}')")
        page.get_by_role("button", name="Make the new version").click()
        page.get_by_role("heading", name=new, level=1).wait_for(timeout=90_000)
    found = texts(workspace.prepared / "third")
    assert not {"Number 0 is red.", "Number 1 is green."} & set(found)
    assert len(found) == 58


def test_a_finding_leads_to_its_rows(page: Any, running: Running, workspace: Workspace, tmp_path: Any) -> None:
    rows = [
        {"question": f"What is part {n} for?", "answer": "TODO" if n < 3 else f"It holds the {n}th lever in its place."} for n in range(40)
    ]
    (tmp_path / "parts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    tunesmith(tmp_path, "prepare", tmp_path / "parts.jsonl", "--out", workspace.prepared / "parts")
    page.goto(f"{running.address}/data?set=parts")
    page.get_by_role("link", name="placeholder-answer").click()
    page.get_by_text("1 to 3 of 3 rows").wait_for(timeout=20_000)
    assert page.locator(".ts-card", has_text="TODO").count() == 3


def test_tokens_of_a_row(page: Any, running: Running, workspace: Workspace) -> None:
    page.goto(f"{running.address}/data/row?set=faq&split=train&row=2")
    page.get_by_role("button", name="Show the tokens").click()
    page.locator(".ts-supervised").first.wait_for(timeout=60_000)
    answer = json.loads((workspace.prepared / "faq" / "train.jsonl").read_text(encoding="utf-8").splitlines()[1])["messages"][-1]["content"]
    assert answer in "".join(page.locator(".ts-supervised").all_inner_texts())


def test_nothing_of_a_row_is_markup(page: Any, running: Running, workspace: Workspace, tmp_path: Any) -> None:
    name = "<img src=x onerror=alert(3)>.jsonl"
    rows = [{"question": f"{n} {HOSTILE_TEXT}?", "answer": f"Number {n}: {HOSTILE_TEXT}"} for n in range(30)]
    (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    tunesmith(tmp_path, "prepare", tmp_path / name, "--out", workspace.prepared / "hostile")
    page.goto(f"{running.address}/data?set=hostile")
    page.locator(".ts-card .ts-text").first.wait_for()
    assert HOSTILE_TEXT in page.locator(".ts-main").inner_text()
    page.get_by_role("button", name="Drop").first.click()
    page.get_by_role("heading", name="Changes to become a new version: 1").wait_for()
    page.get_by_role("button", name="Edit").nth(1).click()
    page.get_by_role("textbox", name="Answer").fill(f"other {HOSTILE_TEXT}")
    page.get_by_role("button", name="Keep this edit").click()
    page.get_by_role("heading", name="Changes to become a new version: 2").wait_for()
    page.goto(f"{running.address}/data/row?set=hostile&split=train&row=3")
    page.get_by_role("heading", level=1).wait_for()
    page.wait_for_timeout(500)
    assert page.locator("img").count() == 0


@pytest.mark.parametrize(
    "path", ["/data?set=../../etc", "/data/row?set=../faq", "/data/row?set=faq&row=999", "/data/row?set=faq&split=../../run"]
)
def test_a_name_is_no_path(running: Running, path: str) -> None:
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(running.address + path)


def test_a_row_is_edited_without_a_mouse(page: Any, running: Running) -> None:
    page.goto(f"{running.address}/data?set=faq&words=%22number+9%3F%22")
    page.get_by_text("1 to 1 of 1 rows").wait_for()
    page.get_by_role("button", name="Edit").focus()
    page.keyboard.press("Enter")
    page.get_by_role("textbox", name="Answer").wait_for()
    for _ in range(4):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.getAttribute('aria-label')") == "Answer":
            break
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.type("Number 9 is grey.")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Changes to become a new version: 1").wait_for()
    page.locator(".ts-edited", has_text="Number 9 is grey.").wait_for()


def test_at_the_width_of_a_phone(page: Any, running: Running) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    for path in ("/data", "/data?set=faq", "/data/row?set=faq&split=train&row=1"):
        page.goto(running.address + path)
        page.locator("main h1").wait_for()
        page.wait_for_timeout(1000)
        assert page.evaluate("document.documentElement.scrollWidth") == 390, path
