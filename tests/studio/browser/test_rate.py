"""Rating in a browser: ten pairs by keyboard, blind, resumed, summed up."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.studio.made import HOSTILE_TEXT
from tests.studio.rated import BASE, make_hostile_rated, make_rated, tuned_says
from tests.studio.server import Running
from tests.studio.workspace import Workspace
from tunesmith.evaluate.rating.ratings import read_ratings
from tunesmith.evaluate.votes import answer_key, read_votes

pytestmark = pytest.mark.browser
SETTLED = 400
"""Milliseconds: sooner than 300 after a question a key is taken for a double press."""


def wait_for_number(page: Any, number: int, total: int) -> None:
    page.get_by_text(re.compile(rf"^{number} of {total};")).wait_for()
    page.wait_for_timeout(SETTLED)


def side_of_tuned(page: Any) -> str:
    """The key of the answer that begins as the tuned model's do, found by reading as a person would."""
    texts = [str(text) for text in page.locator(".ts-answer .ts-text").all_inner_texts()]
    return "1" if texts[0].startswith("Number") else "2"


def test_ten_pairs_by_keyboard(page: Any, running: Running, workspace: Workspace) -> None:
    run = make_rated(workspace.runs, "rated", workspace.prepared / "faq")
    page.get_by_role("link", name="Rate").first.click()
    page.get_by_label("Your name").fill("Ana <b>")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("rater=Ana"))
    for number in range(1, 10):
        wait_for_number(page, number, 10)
        assert BASE not in page.locator(".ts-main").inner_text()
        assert page.get_by_role("button", name="Show, with the models' names").count() == 0  # its counts would tell
        page.keyboard.press({"1": "a", "2": "b"}[side_of_tuned(page)] if number % 2 else side_of_tuned(page))
    wait_for_number(page, 10, 10)
    page.keyboard.press("u")  # the ninth was a slip: it becomes a tie
    wait_for_number(page, 9, 10)
    page.keyboard.press("0")
    wait_for_number(page, 10, 10)
    page.keyboard.press(side_of_tuned(page))
    page.get_by_text("All 10 were asked: 10 judged, 0 skipped").wait_for()
    votes = read_votes([run.votes_file])
    assert len(votes) == 10
    assert [vote.winner for vote in votes].count("tie") == 1
    won = [vote.left if vote.winner == "left" else vote.right for vote in votes if vote.winner != "tie"]
    assert won == ["rated"] * 9
    assert {vote.rater for vote in votes} == {"Ana <b>"}
    keys = {vote.example: {vote.left_answer, vote.right_answer} for vote in votes}
    assert answer_key(tuned_says(3)) in keys["example-3"]
    page.get_by_role("button", name="Show, with the models' names").click()
    row = page.locator("tbody tr").first
    row.wait_for()
    assert "rated" in row.inner_text()
    page.get_by_text(re.compile("rated against tiny-llama: 95 %")).wait_for()
    page.reload()
    page.get_by_text("There is nothing left to judge.").wait_for()


def test_scores_skips_and_going_on_later(page: Any, running: Running, workspace: Workspace) -> None:
    run = make_rated(workspace.runs, "rated", workspace.prepared / "faq", num_examples=2)
    address = running.address + "/rate?" + urlencode({"run": "rated", "mode": "rubric", "rater": "ana"})
    page.goto(address)
    wait_for_number(page, 1, 4)
    page.keyboard.press("4")
    wait_for_number(page, 2, 4)
    page.keyboard.press("s")
    wait_for_number(page, 3, 4)
    page.get_by_role("button", name="Skip").click()
    wait_for_number(page, 4, 4)
    page.keyboard.press("6")  # means nothing
    page.keyboard.press("Control+1")  # the browser's
    page.keyboard.press("2")  # after a click on a button too
    page.get_by_text("All 4 were asked: 2 judged, 2 skipped").wait_for()
    page.get_by_role("button", name="Ask what was skipped").click()
    wait_for_number(page, 1, 2)
    page.keyboard.press("5")
    wait_for_number(page, 2, 2)
    page.goto(running.address + "/runs/rated")  # leaving writes what could still be undone
    page.goto(address)
    wait_for_number(page, 1, 1)
    assert [rating.score for rating in read_ratings(run.ratings_file)] == [4, 2, 5]


def test_hostile_answers_are_text_and_a_phone_has_room(page: Any, running: Running, workspace: Workspace) -> None:
    make_hostile_rated(workspace.runs, workspace.prepared / "faq")
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(running.address + "/rate?" + urlencode({"run": "rated-hostile", "rater": HOSTILE_TEXT}))
    wait_for_number(page, 1, 2)
    assert HOSTILE_TEXT in page.locator(".ts-answer").all_inner_texts()[0] + page.locator(".ts-answer").all_inner_texts()[1]
    assert page.locator("img").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    page.keyboard.press("t")
    wait_for_number(page, 2, 2)
    page.goto(running.address + "/rate?run=../../etc/passwd&rater=ana")
    page.get_by_text("There is no evaluated run called '../../etc/passwd'.").wait_for()
