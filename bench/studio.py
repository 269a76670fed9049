"""How long the pages of `tunesmith studio` take to come, with 200 runs and 10,000 examples.

    python bench/studio.py                       # 200 runs of 500 steps, one data set of 10,000 examples
    python bench/studio.py --runs 50 --json

Run directories are made up on the spot. A page counts from the request until its content stands in a real browser (Chromium through
Playwright); beside it the seconds in which the server alone answers. The first time of a page is with nothing read yet.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))  # the tests' made-up runs

from tests.studio.browser.chromium import launch  # noqa: E402
from tests.studio.made import make_runs  # noqa: E402
from tests.studio.made_evaluation import add_analysis, add_evaluation  # noqa: E402
from tests.studio.server import studio  # noqa: E402

PAGES = {
    "runs": ("/", "tbody tr"),
    "run": ("/runs/faq-000", "canvas"),
    "new run": ("/new", "pre.ts-code"),
    "evaluations": ("/evaluation", "tbody tr"),
    "evaluation": ("/evaluation/faq-000", ".ts-answers"),
    "error group": ("/evaluation/faq-000/group?group=too_long", ".ts-answers"),
    "example": ("/evaluation/faq-000/example?id=test-000003", ".ts-answers"),
    "data sets": ("/data", "tbody tr"),
    "data": ("/data?set=faq", ".ts-card .ts-text"),
    "data search": ("/data?set=faq&words=%22part+7+%22", ".ts-card .ts-text"),
    "row": ("/data/row?set=faq&split=train&row=7", ".ts-card .ts-text"),
    "rate": ("/rate", "button.q-btn"),
    "rating": ("/rate?run=faq-000&rater=Ana", ".ts-answer .ts-text"),
    "playground": ("/playground?run=faq-000", "textarea:visible"),
    "compare": ("/compare?run=faq-000&run=faq-001", ".ts-answers"),
}
"""To address, and what has to be there for the page to count as come."""


def measure(num_runs: int, num_steps: int, num_examples: int, repeats: int) -> list[dict[str, Any]]:
    """One row a page."""
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary)
        runs, prepared = make_runs(directory, num_runs=num_runs, num_steps=num_steps, num_examples=num_examples)
        for name in ("faq-000", "faq-001"):
            add_evaluation(runs / name, num_examples=num_examples, shift=name == "faq-001")
            add_analysis(runs / name)
        with studio(runs, prepared, cwd=directory) as running, launch() as browser:
            browser.new_page().close()  # its own start is not the studio's
            return [_measure_page(browser, running.address, name, repeats) for name in PAGES]


def _measure_page(browser: Any, address: str, name: str, repeats: int) -> dict[str, Any]:
    path, selector = PAGES[name]
    shown = []
    for _ in range(repeats + 1):
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        started = time.perf_counter()
        page.goto(address + path, wait_until="commit")
        page.locator(selector).first.wait_for()
        shown.append(time.perf_counter() - started)
        page.close()
    answered = []
    for _ in range(repeats):
        started = time.perf_counter()
        with urllib.request.urlopen(address + path) as answer:
            num_bytes = len(answer.read())
        answered.append(time.perf_counter() - started)
    return {
        "page": name,
        "first_seconds": round(shown[0], 3),
        "median_seconds": round(sorted(shown[1:])[repeats // 2], 3),
        "worst_seconds": round(max(shown[1:]), 3),
        "server_seconds": round(sorted(answered)[repeats // 2], 3),
        "kilobytes": round(num_bytes / 1000),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--examples", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    found = measure(arguments.runs, arguments.steps, arguments.examples, arguments.repeats)
    if arguments.json:
        print(json.dumps(found, indent=2))
        return
    print("page         first s  median s  worst s  server s     kB")
    for row in found:
        print(
            f"{row['page']:11}  {row['first_seconds']:7.2f}  {row['median_seconds']:8.2f}  {row['worst_seconds']:7.2f}  "
            f"{row['server_seconds']:8.3f}  {row['kilobytes']:5d}"
        )


if __name__ == "__main__":
    main()
