"""A browser and a workspace for all tests of this folder; they run by `make test-browser`, or `pytest -m browser`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.studio.browser.chromium import launch, missing
from tests.studio.server import Running, studio
from tests.studio.workspace import Workspace, copy, make_workspace


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Left out of a plain run, which has to be quick."""
    reason = missing() if "browser" in config.option.markexpr else "driven by `make test-browser`"
    for item in items:
        if item.get_closest_marker("browser") and reason:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session", autouse=True)
def nothing_is_compiled() -> Iterator[None]:
    """The trainings that pages start are shorter than torch.compile would take for them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCHDYNAMO_DISABLE", "1")
        yield


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Not to be changed."""
    pytest.importorskip("nicegui", reason="the extra `studio` is not installed")
    return make_workspace(tmp_path_factory.mktemp("workspace"))


@pytest.fixture
def workspace(made: Workspace, tmp_path: Path) -> Workspace:
    """Runs of one's own."""
    return copy(made, tmp_path)


@pytest.fixture
def running(workspace: Workspace, tmp_path: Path) -> Iterator[Running]:
    """A studio over the workspace."""
    with studio(workspace.runs, workspace.prepared, cwd=tmp_path) as started:
        yield started


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    with launch() as started:
        yield started


@pytest.fixture
def page(browser: Any, running: Running) -> Iterator[Any]:
    """A page at the first address; the test fails on an error in it, a dialog, or a request to another host."""
    made = browser.new_page(viewport={"width": 1440, "height": 900})
    faults: list[str] = []
    made.on("pageerror", lambda error: faults.append(f"error: {error}"))
    made.on("console", lambda message: faults.append(f"console: {message.text}") if message.type == "error" else None)
    made.on("dialog", lambda dialog: (faults.append(f"dialog: {dialog.message}"), dialog.dismiss()))
    made.on("request", lambda request: faults.append(f"request: {request.url}") if _is_elsewhere(request.url, running) else None)
    made.goto(running.address)
    yield made
    made.close()
    assert faults == []


def _is_elsewhere(url: str, running: Running) -> bool:
    return not url.startswith((running.address + "/", "data:", "blob:"))
