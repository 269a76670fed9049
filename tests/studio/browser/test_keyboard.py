"""Every page by keyboard: Tab comes to whatever can be pressed or filled in, and it shows where it is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.studio.made import make_run
from tests.studio.made_evaluation import add_analysis, add_evaluation
from tests.studio.server import Running
from tests.studio.workspace import Workspace

pytestmark = pytest.mark.browser

PAGES = {
    "/": "Filter runs",
    "/runs/faq-1": "Ask it in the playground",
    "/runs/faq-stopped": "Resume",
    "/new": "Start training",
    "/data?set=faq": "Search",
    "/data/row?set=faq&split=train&row=2": "Show the tokens",
    "/evaluation/faq-better": "Search",
    "/evaluation/faq-better/group?group=too_long": "faq.csv",
    "/evaluation/faq-better/example?id=test-000003": "faq-better",
    "/compare?run=faq-better&run=faq-best": "faq-best",
    "/rate": "Begin",
    "/rate?run=faq-better&rater=Ana": "Skip",
    "/playground?run=faq-1": "Send",
}
"""To some words of what Tab must come to, whatever else there is."""
MOST_STOPS = 600

NEXT = """() => {
    const one = document.activeElement;
    if (!one || one === document.body) return null;
    const again = one.dataset.tabbed === '1';
    one.dataset.tabbed = '1';
    const named = one.getAttribute('aria-labelledby');
    const labels = [one.getAttribute('aria-label'), one.innerText, ...[...(one.labels ?? [])].map(label => label.innerText)];
    if (named) labels.push(document.getElementById(named)?.innerText);
    const style = getComputedStyle(one);
    const lit = style.boxShadow.includes('5px') || style.boxShadow.includes('3px');
    const ring = style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2;
    const seen = ring || lit || one.closest('.q-field--focused') !== null || one.closest('.ts-main') === one;
    return {again, seen, name: labels.filter(Boolean).join(' '), tag: one.outerHTML.replace(' data-tabbed="1"', '').slice(0, 160)};
}"""

LEFT_OUT = """stops => {
    // Tables are drawn anew now and then, by elements that do not know that Tab came to those before them.
    for (const one of document.querySelectorAll('a[href], button'))
        if (stops.includes(one.outerHTML.slice(0, 160))) one.dataset.tabbed = '1';
    const shown = one => one.checkVisibility({visibilityProperty: true}) && one.getClientRects().length > 0;
    const able = one => !one.disabled && one.getAttribute('aria-disabled') !== 'true' && !one.closest('[disabled], .disabled');
    const tabbed = one => one.closest('[data-tabbed]') || one.querySelector('[data-tabbed]')
        || one.closest('label, .q-field, th')?.querySelector('[data-tabbed]');
    const native = [...document.querySelectorAll('a[href], button, input, textarea, select, [role=switch], [role=combobox], summary')];
    const pointed = [...document.querySelectorAll('.ts-main *')].filter(one => getComputedStyle(one).cursor === 'pointer');
    const left = [...new Set([...native, ...pointed])].filter(one => shown(one) && able(one) && !tabbed(one));
    return left.map(one => one.outerHTML.slice(0, 160));
}"""


@pytest.fixture
def evaluated(workspace: Workspace) -> None:
    for name in ("faq-better", "faq-best"):
        run = make_run(workspace.runs, name, 5, data=workspace.prepared / "faq", state="evaluated")
        add_evaluation(run, shift=name == "faq-best")
        add_analysis(run)


def test_tab_comes_to_everything_and_shows_where_it_is(evaluated: None, page: Any, running: Running) -> None:
    del evaluated
    faults = {}
    for path, words in PAGES.items():
        for patience in (2500, 10_000):  # what comes after the frame, and replaces it, comes late on a busy machine
            found = _faults(page, running.address + path, words, patience)
            if not found:
                break
        else:
            faults[path] = found
    assert faults == {}, json.dumps(faults, indent=1)


def _faults(page: Any, address: str, words: str, patience: int) -> list[str]:
    page.goto(address)
    page.locator(".ts-main h1").first.wait_for()
    page.wait_for_timeout(patience)
    stops = list(_stops(page))
    unseen = [f"focus does not show: {stop['tag']}" for stop in stops if not stop["seen"]]
    left_out = [f"Tab does not come to {tag}" for tag in page.evaluate(LEFT_OUT, [stop["tag"] for stop in stops])]
    named = [] if any(words in stop["name"] for stop in stops) else [f"there is no {words!r}: {[stop['name'][:40] for stop in stops]}"]
    first = [] if "Skip to the content" in stops[0]["name"] else ["the first stop skips nothing"]
    return [*unseen, *left_out, *named, *first]


def _stops(page: Any) -> Iterator[Any]:
    for _ in range(MOST_STOPS):
        page.keyboard.press("Tab")
        stop = page.evaluate(NEXT)
        if stop is None or stop["again"]:
            return
        yield stop
