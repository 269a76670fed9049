"""Pictures of every page of `tunesmith studio`: 1440 and 390 pixels wide, light and dark.

    python docs/screenshots.py --out docs/screenshots                 # every page
    python docs/screenshots.py --out pictures --only runs run-live    # some of them

A data set, a tiny random model and a few runs on it are made on the fly, so nothing has to be fetched. `SHOTS` is the list of pictures: a
new page is a line there. Needs the extras `[studio,dev]` and a Chromium (`TUNESMITH_CHROMIUM` where it has another name).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))  # the tests' tiny model and made-up runs

from tests.studio.browser.chromium import launch  # noqa: E402
from tests.studio.made import make_run  # noqa: E402
from tests.studio.made_evaluation import add_analysis, add_evaluation  # noqa: E402
from tests.studio.server import studio  # noqa: E402
from tests.studio.workspace import make_workspace  # noqa: E402

WIDTHS = {1440: 900, 390: 844}
"""To height of the window; a picture is as long as its page."""


@dataclass(frozen=True, kw_only=True)
class Shot:
    """One picture."""

    name: str
    path: str
    """Of the page, after the address."""
    before: Callable[[Any], None] | None = None
    """What is done on the page before the picture is taken."""


def _preview(page: Any) -> None:
    page.get_by_role("button", name="Preview").click()
    page.get_by_role("heading", name="What the model will see").wait_for(timeout=60_000)


def _nearest(page: Any) -> None:
    page.locator(".ts-near").first.wait_for(timeout=60_000)


def _verdict(page: Any) -> None:
    page.get_by_text("newly right,").first.wait_for(timeout=60_000)


def _edited(page: Any) -> None:
    page.get_by_role("button", name="Edit").first.click()
    page.get_by_role("textbox", name="Answer").fill("Number 0 is crimson.")
    page.get_by_role("button", name="Keep this edit").click()
    page.get_by_role("button", name="Drop").nth(2).click()
    page.get_by_role("heading", name="Changes to become a new version").wait_for()
    page.locator("canvas").nth(1).wait_for()


def _tokens(page: Any) -> None:
    page.get_by_role("button", name="Show the tokens").click()
    page.locator("canvas").wait_for(timeout=60_000)


def _judged(page: Any) -> None:
    page.locator(".ts-answer").first.wait_for()
    for key in "1t2":
        page.wait_for_timeout(600)
        page.keyboard.press(key)
    page.get_by_role("button", name="Show, with the models' names").click()
    page.locator("tbody tr").first.wait_for(timeout=60_000)


def _answered(page: Any) -> None:
    sampling = page.get_by_text("Sampling and system message")
    sampling.click()
    page.get_by_label("Most new tokens").fill("24")
    sampling.click()
    _ask(page)


def _ask(page: Any) -> None:
    for number, prompt in enumerate(("What colour is number 7?", "And number 8?")):
        page.get_by_label("Prompt", exact=True).fill(prompt)
        page.keyboard.press("Enter")
        page.locator("[data-side]").nth(2 * number).wait_for()
        page.get_by_role("button", name="Send", disabled=False).wait_for(timeout=120_000)
    height = page.evaluate("document.documentElement.scrollHeight")  # what stays at the bottom of the window comes last
    page.set_viewport_size({**page.viewport_size, "height": height})


def _saving(page: Any) -> None:
    page.get_by_text("Sampling and system message").click()
    page.get_by_label("Most new tokens").fill("24")
    page.get_by_text("Guardrails", exact=True).click()
    _ask(page)
    page.get_by_role("button", name="Save as an example").first.click()
    page.get_by_label("Answer to learn").wait_for()


SHOTS = (
    Shot(name="runs", path="/"),
    Shot(name="run", path="/runs/faq-1"),
    Shot(name="run-failed", path="/runs/faq-failed"),
    Shot(name="new-run", path="/new", before=_preview),
    Shot(name="evaluations", path="/evaluation"),
    Shot(name="evaluation", path="/evaluation/faq-better"),
    Shot(name="error-group", path="/evaluation/faq-better/group?group=too_long"),
    Shot(name="example", path="/evaluation/faq-better/example?id=test-000003", before=_nearest),
    Shot(name="data-sets", path="/data"),
    Shot(name="data", path="/data?set=faq", before=_edited),
    Shot(name="data-row", path="/data/row?set=faq&split=train&row=2", before=_tokens),
    Shot(name="rate", path="/rate"),
    Shot(name="rating", path="/rate?run=faq-better&rater=Ana", before=_judged),
    Shot(name="rating-scores", path="/rate?run=faq-better&mode=rubric&rater=Ana"),
    Shot(name="playground", path="/playground?run=faq-1", before=_answered),
    Shot(name="playground-saving", path="/playground?run=faq-1", before=_saving),
    Shot(name="compare", path="/compare?run=faq-better&run=faq-best", before=_verdict),
)


def main() -> None:
    """Make the pictures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for the pictures")
    parser.add_argument("--only", nargs="*", help="names of the pictures to make")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary)
        made = make_workspace(directory)
        for name in ("faq-better", "faq-best"):
            run = make_run(made.runs, name, 5, data=made.prepared / "faq", state="evaluated")
            add_evaluation(run, shift=name == "faq-best")
            add_analysis(run)
        with studio(made.runs, made.prepared, cwd=directory) as running, launch() as browser:
            for shot in SHOTS:
                if not arguments.only or shot.name in arguments.only:
                    for file in take(browser, running.address, shot, arguments.out):
                        print(file)


def take(browser: Any, address: str, shot: Shot, out: Path) -> Iterator[Path]:
    """One page in four pictures."""
    for width, height in WIDTHS.items():
        for scheme in ("light", "dark"):
            with _page(browser, width, height, scheme) as page:
                page.goto(address + shot.path)
                page.locator("main h1").first.wait_for()
                if shot.before:
                    shot.before(page)
                page.evaluate("scrollTo(0, 0)")  # the header stays at the top of the window
                page.wait_for_timeout(800)  # charts are drawn
                file = out / f"{shot.name}-{width}-{scheme}.png"
                page.screenshot(path=file, full_page=True)
                yield file


@contextmanager
def _page(browser: Any, width: int, height: int, scheme: str) -> Iterator[Any]:
    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
    try:
        yield page
    finally:
        page.close()


if __name__ == "__main__":
    main()
