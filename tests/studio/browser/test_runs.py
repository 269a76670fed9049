"""Runs in a browser: sort, filter, open, start, watch, stop, resume."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.studio.made import HOSTILE_NAME, HOSTILE_TEXT, make_hostile_runs, make_run, write, write_lines
from tests.studio.server import Running
from tests.studio.workspace import Workspace

pytestmark = pytest.mark.browser


def names(page: Any) -> list[str]:
    page.locator("tbody tr").first.wait_for()
    return [str(text) for text in page.locator("tbody .ts-run-name").all_inner_texts()]


def wait_for_first(page: Any, name: str) -> None:
    """Sorting takes the page a moment."""
    page.wait_for_function("name => document.querySelector('tbody .ts-run-name').innerText === name", arg=name)


def test_sort_filter_and_open(page: Any) -> None:
    assert names(page) == ["faq-1", "faq-failed", "faq-stopped", "faq-better"]
    page.get_by_role("button", name="Best loss").click()
    wait_for_first(page, "faq-better")
    page.get_by_role("button", name="Run", exact=True).focus()
    page.keyboard.press("Enter")
    wait_for_first(page, "faq-1")
    assert names(page) == sorted(names(page))
    page.get_by_label("Filter runs").fill("stop")
    page.wait_for_function("document.querySelectorAll('tbody .ts-run-name').length == 1")
    assert names(page) == ["faq-stopped"]
    page.get_by_label("Filter runs").fill("")
    page.get_by_role("link", name="faq-better").click()
    page.get_by_role("heading", name="faq-better", level=1).wait_for()
    page.get_by_text("0.21 -> 0.30, change +0.09 [+0.05, +0.13]").wait_for()
    assert page.locator("canvas").count() == 4


def test_a_run_is_started_from_the_page_and_watched_to_its_end(page: Any, running: Running, workspace: Workspace) -> None:
    page.get_by_role("link", name="New run").first.click()
    page.get_by_label("Model", exact=True).fill(str(workspace.model))
    page.keyboard.press("Enter")
    page.get_by_label("Name of the run").fill("from-the-page")
    page.get_by_label("Most steps").fill("6")
    page.get_by_label("Steps between validations").fill("2")
    command = page.locator("pre.ts-code").first
    page.wait_for_function("document.querySelector('pre.ts-code').textContent.includes('--name=from-the-page')")
    page.wait_for_function("document.querySelector('pre.ts-code').textContent.includes('--evaluate-every=2')")
    assert f"--model={workspace.model} --max-steps=6 --evaluate-every=2" in command.inner_text()
    page.get_by_role("button", name="Start training").click()
    page.wait_for_url(running.address + "/runs/from-the-page")
    page.locator(".ts-status", has_text="finished").wait_for(timeout=90_000)
    page.get_by_text("6 steps").first.wait_for()
    record = json.loads((workspace.runs / "from-the-page" / "run.json").read_text(encoding="utf-8"))
    assert record["config"]["max_steps"] == 6
    page.get_by_role("link", name="Runs").first.click()
    assert "from-the-page" in names(page)


def test_a_run_that_cannot_start_shows_why(page: Any, running: Running, tmp_path: Path) -> None:
    page.goto(f"{running.address}/new?model={tmp_path / 'no-such-model'}")
    page.get_by_label("Name of the run").fill("never")
    page.wait_for_function("document.querySelector('pre.ts-code').textContent.includes('--name=never')")
    page.get_by_role("button", name="Start training").click()
    page.get_by_text("It ended with exit code 2 before there was a run.").wait_for(timeout=90_000)
    assert "error:" in page.locator("pre.ts-log").inner_text()


def test_stop_and_resume(page: Any, running: Running, workspace: Workspace) -> None:
    page.goto(f"{running.address}/new?model={workspace.model}")
    page.get_by_label("Name of the run").fill("stopped")
    page.get_by_label("Epochs").fill("500")
    page.get_by_label("Most steps").fill("3000")
    page.get_by_label("Steps between validations").fill("1000")
    page.wait_for_function("document.querySelector('pre.ts-code').textContent.includes('--evaluate-every=1000')")
    page.get_by_role("button", name="Start training").click()
    page.get_by_text(re.compile(r"^[1-9][0-9,]* of 3,000 steps")).wait_for(timeout=90_000)
    page.get_by_role("button", name="Stop").click()
    page.locator(".ts-status", has_text="interrupted").wait_for(timeout=60_000)
    assert list((workspace.runs / "stopped" / "checkpoints").iterdir())
    page.get_by_role("button", name="Resume").click()
    page.locator("pre.ts-log", has_text="resuming").wait_for(timeout=90_000)
    page.get_by_role("button", name="Stop").click()
    page.locator(".ts-status", has_text="interrupted").wait_for(timeout=60_000)


def test_curves_follow_a_run_that_trains(page: Any, running: Running, workspace: Workspace) -> None:
    """Its process is this one, so it counts as running."""
    import socket

    import psutil

    run = make_run(workspace.runs, "live", 5, data=workspace.prepared / "faq", state="interrupted")
    own = psutil.Process()
    said = {"run": str(run.resolve()), "pid": own.pid, "started": own.create_time(), "host": socket.gethostname(), "command": own.cmdline()}
    write(run / "process.json", {**said, "outcome": "running"})
    page.goto(f"{running.address}/runs/live")
    page.locator(".ts-status", has_text="running").wait_for()
    page.get_by_text(re.compile(r"^20 of 40 steps")).wait_for()
    from tests.studio.made import metric_lines

    write_lines(run / "metrics.jsonl", metric_lines(30))
    page.get_by_text(re.compile(r"^30 of 40 steps")).wait_for(timeout=10_000)


def test_nothing_of_a_user_is_markup(page: Any, running: Running, workspace: Workspace) -> None:
    reasons = make_hostile_runs(workspace.runs, workspace.prepared / "faq")
    page.reload()
    page.locator("tbody tr").first.wait_for()
    found = names(page)
    assert HOSTILE_NAME in found
    assert reasons.keys() <= set(found)
    assert HOSTILE_TEXT in page.locator("tbody").inner_text()
    page.get_by_role("link", name=HOSTILE_NAME).click()
    page.get_by_role("heading", name=HOSTILE_NAME, level=1).wait_for()
    page.wait_for_timeout(1500)
    assert page.locator("img").count() == 0
    for name in (*reasons, "nan"):
        page.goto(f"{running.address}/runs/{name}")
        page.get_by_role("heading", name=name, level=1).wait_for()
    page.goto(f"{running.address}/new?model={'%3Cimg%20src=x%20onerror=alert(1)%3E'}")
    page.get_by_role("heading", name="Command").wait_for()
    page.wait_for_timeout(500)
    assert page.locator("img").count() == 0


def test_without_a_mouse(page: Any, running: Running) -> None:
    page.locator("tbody tr").first.wait_for()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "Filter runs"
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.className") == "ts-run-name":
            break
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("/runs/faq-1$"))
    assert page.evaluate("document.documentElement.lang") == "en-US"


def test_a_phone_has_a_menu_and_no_sideways_scrolling(page: Any, running: Running) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    for path in ("/", "/runs/faq-1", "/new"):
        page.goto(running.address + path)
        page.locator("main h1").wait_for()
        page.wait_for_timeout(600)
        assert page.evaluate("document.documentElement.scrollWidth") == 390, path
    page.get_by_role("button", name="Menu").click()
    page.locator(".ts-menu").get_by_role("link", name="Runs").click()
    page.wait_for_url(running.address + "/")


def test_colours_follow_the_system_until_they_are_chosen(page: Any, running: Running) -> None:
    def is_dark() -> bool:
        page.locator("main h1").wait_for()
        page.wait_for_timeout(300)
        return bool(page.evaluate("document.body.classList.contains('body--dark')"))

    page.emulate_media(color_scheme="dark")
    assert is_dark()
    page.get_by_role("button", name="Colours: as the system").click()
    page.get_by_role("button", name="Colours: light").wait_for()
    assert not is_dark()
    page.reload()
    assert not is_dark()
    page.get_by_role("button", name="Colours: light").click()
    page.get_by_role("button", name="Colours: dark").wait_for()
    page.emulate_media(color_scheme="light")
    assert is_dark()


def test_another_site_cannot_speak_to_it(page: Any, running: Running, browser: Any, tmp_path: Path) -> None:
    """A page of another origin, in the same browser."""
    (tmp_path / "evil.html").write_text("<!doctype html><title>evil</title>", encoding="utf-8")
    other = browser.new_page()
    other.goto((tmp_path / "evil.html").as_uri())
    socket = running.address.replace("http", "ws") + "/_nicegui_ws/socket.io/?EIO=4&transport=websocket"
    opened = other.evaluate(
        "url => new Promise(done => { const s = new WebSocket(url); s.onopen = () => done('open'); s.onerror = () => done('refused') })",
        socket,
    )
    assert opened == "refused"
    answer = other.evaluate("url => fetch(url, {mode: 'no-cors'}).then(r => r.type, () => 'refused')", running.address)
    assert answer in ("opaque", "refused")
    assert other.evaluate("url => fetch(url).then(r => r.status, () => 'refused')", running.address) == "refused"
    other.close()
