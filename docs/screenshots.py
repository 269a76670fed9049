"""Pictures of every page of `tunesmith studio`: 1440 and 390 pixels wide, light and dark.

    python docs/screenshots.py --workspace ../pictured                              # docs/pictures
    python docs/screenshots.py --workspace ../pictured --only runs run-live --out ../some

The workspace is made where it is missing, by the commands in `WORKSPACE`: the data set that ships with tunesmith, two short runs of
SmolLM2-135M on it, evaluated and analysed; a third trains while its picture is taken. `SHOTS` is the list of pictures: a new page is
a line there. Needs the extras `[studio,dev]`, a Chromium (`TUNESMITH_CHROMIUM` where it has another name), and some minutes.
"""

from __future__ import annotations

import argparse
import io
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))  # the tests' browser and server

from tests.studio.browser.chromium import launch  # noqa: E402
from tests.studio.server import Running, studio  # noqa: E402

from tunesmith.data.builtin import builtin_data_file  # noqa: E402

WIDTHS = {1440: 900, 390: 844}
"""To height of the window; a picture is as long as its page."""
LONGEST = {1440: 2000, 390: 2600}
"""To most pixels of a picture's height."""
LEAST_BETWEEN = 600
"""Milliseconds between two judgements; what comes sooner is a key held down."""
COLOURS = 64
"""Of a picture: pages are flat, and WebP without loss is a fifth of a PNG of all their shades."""

TRAIN = "train prepared/faq --model smollm2-135m-instruct --learning-rate 0.001 --no-estimate --name"
WORKSPACE = (
    ("prepared/faq", "prepare tunesmith_faq.jsonl --out prepared/faq"),
    ("runs/faq-1/manifest.json", f"{TRAIN} faq-1 --max-steps 50 --evaluate-every 10"),
    ("runs/faq-1/evaluation/report.json", "evaluate runs/faq-1 --max-new-tokens 64"),
    ("runs/faq-1/analysis/analysis.json", "analyze runs/faq-1 --embeddings words"),
    ("runs/faq-2/manifest.json", f"{TRAIN} faq-2 --max-steps 60 --evaluate-every 15 --dora --lora-rank 32"),
    ("runs/faq-2/evaluation/report.json", "evaluate runs/faq-2 --max-new-tokens 64"),
    ("runs/faq-2/analysis/analysis.json", "analyze runs/faq-2 --embeddings words"),
)
"""What is there once a command has run, and the command."""
LIVE = "faq-3"
MARK = ".pictured"


@dataclass(frozen=True, kw_only=True)
class Shot:
    """One picture."""

    name: str
    path: str
    """Of the page, after the address; `EXAMPLE` stands for an example that became right."""
    is_first_sitting: bool = False
    """Nobody has voted yet."""
    before: Callable[[Any], None] | None = None
    """What is done on the page before the picture is taken."""


def _live(page: Any) -> None:
    page.get_by_role("button", name="Stop").wait_for()
    page.locator("canvas").nth(3).wait_for()


def _preview(page: Any) -> None:
    page.get_by_role("button", name="Preview").click()
    page.get_by_role("heading", name="What the model will see").wait_for(timeout=180_000)


def _nearest(page: Any) -> None:
    page.locator(".ts-near").first.wait_for(timeout=60_000)


def _verdict(page: Any) -> None:
    page.get_by_text("newly right,").first.wait_for(timeout=60_000)


def _edited(page: Any) -> None:
    undo = page.get_by_role("button", name="Undo")
    page.wait_for_timeout(1000)
    while undo.count():  # of the picture before
        undo.last.click()
        page.wait_for_timeout(700)
    page.get_by_role("button", name="Edit").first.click()
    page.get_by_role("textbox", name="Answer").fill("A word, or a part of one, with a number of its own: what a model reads and writes.")
    page.get_by_role("button", name="Keep this edit").click()
    page.get_by_role("button", name="Drop").nth(2).click()
    page.get_by_role("heading", name="Changes to become a new version").wait_for()
    page.locator("canvas").nth(1).wait_for()


def _tokens(page: Any) -> None:
    page.get_by_role("button", name="Show the tokens").click()
    page.locator("canvas").wait_for(timeout=60_000)


def _judged(page: Any) -> None:
    page.locator(".ts-answer").first.wait_for()
    for key in "1t":
        page.wait_for_timeout(LEAST_BETWEEN)
        page.keyboard.press(key)
    page.wait_for_timeout(LEAST_BETWEEN)


def _summary(page: Any) -> None:
    button = page.get_by_role("button", name="Show, with the models' names")
    for number in range(100):
        if button.is_visible():
            break
        page.keyboard.press("22t12"[number % 5])
        page.wait_for_timeout(LEAST_BETWEEN)
    button.click()
    page.locator("tbody tr").first.wait_for(timeout=60_000)


def _answered(page: Any) -> None:
    sampling = page.get_by_text("Sampling and system message")
    sampling.click()
    page.get_by_label("Most new tokens").fill("48")
    sampling.click()
    _ask(page)


def _ask(page: Any) -> None:
    for number, prompt in enumerate(
        ("What is the difference between a base model and an instruct model?", "How do I bake a sourdough loaf?")
    ):
        page.get_by_label("Prompt", exact=True).fill(prompt)
        page.keyboard.press("Enter")
        page.locator("[data-side]").nth(2 * number).wait_for()
        page.get_by_role("button", name="Send", disabled=False).wait_for(timeout=120_000)
    height = page.evaluate("document.documentElement.scrollHeight")  # what stays at the bottom of the window comes last
    page.set_viewport_size({**page.viewport_size, "height": height})


SHOTS = (
    Shot(name="run-live", path=f"/runs/{LIVE}", before=_live),
    Shot(name="runs", path="/"),
    Shot(name="run", path="/runs/faq-2"),
    Shot(name="new-run", path="/new", before=_preview),
    Shot(name="data-sets", path="/data"),
    Shot(name="data", path="/data?set=faq", before=_edited),
    Shot(name="data-row", path="/data/row?set=faq&split=train&row=2", before=_tokens),
    Shot(name="evaluations", path="/evaluation"),
    Shot(name="evaluation", path="/evaluation/faq-2"),
    Shot(name="error-group", path="/evaluation/faq-2/group?group=missed_redirection"),
    Shot(name="example", path="/evaluation/faq-2/example?id=EXAMPLE", before=_nearest),
    Shot(name="compare", path="/compare?run=faq-1&run=faq-2", before=_verdict),
    Shot(name="rate", path="/rate"),
    Shot(name="rating", path="/rate?run=faq-2&rater=Ana", before=_judged, is_first_sitting=True),
    Shot(name="rating-scores", path="/rate?run=faq-2&mode=rubric&rater=Ana"),
    Shot(name="rating-summary", path="/rate?run=faq-2&rater=Ana", before=_summary),
    Shot(name="playground", path="/playground?run=faq-2", before=_answered),
)


def main() -> None:
    """Make the pictures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--workspace", type=Path, required=True, help="folder with runs/ and prepared/; made where it is missing")
    parser.add_argument("--out", type=Path, default=REPOSITORY / "docs" / "pictures", help="folder for the pictures")
    parser.add_argument("--only", nargs="*", help="names of the pictures to make")
    parser.add_argument("--png", action="store_true", help="as the browser makes them, large")
    arguments = parser.parse_args()
    workspace, out = arguments.workspace.resolve(), arguments.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    make_workspace(workspace)
    shots = [shot for shot in SHOTS if not arguments.only or shot.name in arguments.only]
    with studio(workspace / "runs", workspace / "prepared", cwd=workspace) as running, launch() as browser:
        live = [shot for shot in shots if shot.name == "run-live"]
        with training(workspace) if live else _nothing():
            take_all(browser, running, live, out, workspace, png=arguments.png)
        take_all(browser, running, [shot for shot in shots if shot not in live], out, workspace, png=arguments.png)


def make_workspace(workspace: Path) -> None:
    """Run those of the commands whose result is not there; nobody's own folder is touched, for votes of the last time are removed."""
    if workspace.exists() and any(workspace.iterdir()) and not (workspace / MARK).exists():
        raise SystemExit(f"{workspace} was not made by this script; name a new folder")
    workspace.mkdir(parents=True, exist_ok=True)
    (workspace / MARK).touch()
    shutil.copy(builtin_data_file(), workspace)
    for made, command in WORKSPACE:
        if not (workspace / made).exists():
            print(f"tunesmith {command}")
            subprocess.run(_words(command), cwd=workspace, check=True)  # noqa: S603 - ours


def _words(command: str) -> list[str]:
    return [sys.executable, "-m", "tunesmith", *command.split()]


@contextmanager
def training(workspace: Path) -> Iterator[None]:
    """A run that goes on while the block lasts; it is stopped, and resumed the next time."""
    metrics = workspace / "runs" / LIVE / "metrics.jsonl"
    command = f"train --resume runs/{LIVE}" if metrics.exists() else f"{TRAIN} {LIVE} --epochs 40 --evaluate-every 10"
    lines = _num_lines(metrics)
    with (workspace / "live.log").open("wb") as log:
        process = subprocess.Popen(_words(command), cwd=workspace, stdout=log, stderr=log)  # noqa: S603 - ours
    try:
        while _num_lines(metrics) < lines + 24:
            if process.poll() is not None:
                raise RuntimeError(f"the run ended: see {workspace / 'live.log'}")
            time.sleep(1)
        yield
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()


def _num_lines(file: Path) -> int:
    return file.read_bytes().count(b"\n") if file.exists() else 0


@contextmanager
def _nothing() -> Iterator[None]:
    yield


def take_all(browser: Any, running: Running, shots: list[Shot], out: Path, workspace: Path, *, png: bool) -> None:
    """Each page in four pictures."""
    for shot in shots:
        path = shot.path.replace("EXAMPLE", _example(workspace))
        for width, height in WIDTHS.items():
            for scheme in ("light", "dark"):
                if shot.is_first_sitting:
                    (workspace / "runs" / "faq-2" / "evaluation" / "votes.jsonl").unlink(missing_ok=True)
                with _page(browser, width, height, scheme) as page:
                    page.goto(running.address + path)
                    page.locator("main h1, .ts-main h1").first.wait_for()
                    page.wait_for_timeout(700)  # what comes after the frame
                    if shot.before:
                        shot.before(page)
                    page.evaluate("scrollTo(0, 0)")  # the header stays at the top of the window
                    page.wait_for_timeout(800)  # charts are drawn
                    over = page.evaluate("document.documentElement.scrollWidth") - width
                    file = _save(_taken(page, width), out / f"{shot.name}-{width}-{scheme}", png=png)
                    print(file, f"{over} px too wide" if over > 0 else "", flush=True)


def _taken(page: Any, width: int) -> bytes:
    """The page to its end, or so far that a reader has seen what it is."""
    height = min(page.evaluate("document.documentElement.scrollHeight"), LONGEST[width])
    return bytes(page.screenshot(full_page=True, clip={"x": 0, "y": 0, "width": width, "height": height}))


def _save(content: bytes, file: Path, *, png: bool) -> Path:
    """Small enough for the repository: pages are flat colours and text."""
    if png:
        file = file.with_suffix(".png")
        file.write_bytes(content)
        return file
    file = file.with_suffix(".webp")
    with Image.open(io.BytesIO(content)) as image:
        few = image.convert("RGB").quantize(COLOURS, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
        few.convert("RGB").save(file, lossless=True, method=6)
    return file


def _example(workspace: Path) -> str:
    """One that became right, or the first."""
    report = json.loads((workspace / "runs" / "faq-2" / "evaluation" / "report.json").read_text(encoding="utf-8"))
    with (workspace / "runs" / "faq-2" / "evaluation" / "records.jsonl").open(encoding="utf-8") as lines:
        first = json.loads(next(lines))["id"]
    return str(next(iter(report["flips"]["newly_right"]), first))


@contextmanager
def _page(browser: Any, width: int, height: int, scheme: str) -> Iterator[Any]:
    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
    try:
        yield page
    finally:
        page.close()


if __name__ == "__main__":
    main()
