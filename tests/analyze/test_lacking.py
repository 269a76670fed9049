"""Failures on a topic that was taken out of the training data are called lacking, others mostly not; what is near is read off the data."""

from __future__ import annotations

import csv
import random
from collections.abc import Sequence

import pytest

from tests.conftest import SHARED_DATA
from tests.evaluate.fakes import example, record
from tunesmith.analyze.actions import Origin
from tunesmith.analyze.analysis import analyze_records
from tunesmith.analyze.evidence import Evidence, Investigator
from tunesmith.analyze.groups import GroupContext
from tunesmith.analyze.knowledge import Knowledge
from tunesmith.analyze.nearest import WORDS, Space
from tunesmith.analyze.spelling import Spelling
from tunesmith.config import AnalyzeConfig
from tunesmith.evaluate.flips import RightRule
from tunesmith.types import Example

TOPICS = {
    "grinder": ("grinder", "beans", "dose", "burr", "coarseness", "hopper"),
    "milk": ("milk", "foam", "frother", "jug", "lactose", "steam"),
    "water": ("water", "tank", "filter", "limescale", "descaler", "hardness"),
    "payment": ("invoice", "refund", "card", "receipt", "deposit", "instalment"),
    "account": ("account", "password", "login", "email", "profile", "newsletter"),
    "delivery": ("parcel", "courier", "tracking", "address", "doorstep", "customs"),
}
FRAMES = (
    "How do I change the {0} and the {1} of my coffee machine?",
    "What is wrong when my coffee machine says something about the {0} or {1}?",
    "Where in the app do I see my {0}, and where my {1}?",
    "Why does the {0} of my coffee machine matter for the {1}?",
    "Can I order a new {0} with another {1} for my coffee machine?",
)
"""One subject: all prompts are about one machine and share most of their words."""
ABSENT = "payment"


def prompts() -> list[tuple[str, str]]:
    """(topic, prompt), shuffled."""
    made = [
        (topic, frame.format(one, other))
        for topic, words in TOPICS.items()
        for frame in FRAMES
        for one in words
        for other in words
        if one != other
    ]
    return random.Random(5).sample(made, len(made))


def evidence_of(train: Sequence[Example], asked: Sequence[str], config: AnalyzeConfig, space: Space) -> Evidence:
    context = GroupContext(
        config=config,
        redirections=(),
        spelling=Spelling(vocabulary=frozenset(), is_english=True),
        right_rule=RightRule(metric="token_f1", threshold=0.5),
        knowledge=Knowledge(),
    )
    failed = [record(prompt=prompt, name=str(number)) for number, prompt in enumerate(asked)]
    investigator = Investigator(train, context, space)
    investigator.compare(failed)
    return investigator.evidence("too_short", failed)


def shares(rows: Sequence[tuple[str, str]], absent: set[str], space: Space, config: AnalyzeConfig) -> tuple[float, float]:
    """Of held-out prompts, the share called lacking: on the absent topics, and on the others."""
    held_out = len(rows) // 5
    train = [example(prompt, "Yes.", name=str(number)) for number, (topic, prompt) in enumerate(rows[held_out:]) if topic not in absent]
    sides = ([prompt for topic, prompt in rows[:held_out] if (topic in absent) is wanted] for wanted in (True, False))
    found = [evidence_of(train, asked, config, space) for asked in sides]
    return tuple(one.num_lacking / len(one.neighbourhoods) for one in found)  # type: ignore[return-value]


def test_a_topic_that_was_taken_out_is_lacking_and_the_others_are_not() -> None:
    lacking, others = shares(prompts(), {ABSENT}, Space.open(WORDS), AnalyzeConfig())
    assert lacking >= 0.9
    assert others <= 0.2
    fixed, _ = shares(prompts(), {ABSENT}, Space.open(WORDS), AnalyzeConfig(near_similarity=0.6))
    assert fixed < lacking


@pytest.mark.parametrize("model", [WORDS, "all-minilm-l6-v2"])
def test_intents_of_a_bank_that_were_taken_out(model: str) -> None:
    file = SHARED_DATA / "sft" / "banking77_test.csv"
    if not file.is_file():
        pytest.skip(f"real data is not here: {file}")
    space = Space.open(model)
    if model != WORDS and space.embed is None:
        pytest.skip(str(space.note))
    with file.open(encoding="utf-8", newline="") as lines:
        rows = [(row["category"], row["text"]) for row in csv.DictReader(lines)]
    rows = random.Random(1).sample(rows, 1200)
    absent = {"atm_support", "passcode_forgotten", "exchange_rate", "age_limit", "lost_or_stolen_phone", "terminate_account"}
    lacking, others = shares(rows, absent, space, AnalyzeConfig())
    assert others <= 0.2
    assert lacking >= 3 * others


def test_the_report_says_what_is_usual() -> None:
    rows = prompts()
    train = [example(prompt, "Yes.", name=str(number)) for number, (topic, prompt) in enumerate(rows) if topic != ABSENT]
    records = [
        record(name=str(number), prompt=prompt, reference="Open the menu and hold the round button for five seconds.", tuned="Hold it.")
        for number, prompt in enumerate([prompt for topic, prompt in rows if topic == ABSENT][:12])
    ]
    (action,) = (one for one in analyze_records(records, train, AnalyzeConfig(), origin=Origin()).actions if one.cause == "lacking")
    near, usual = action.why.rpartition("(nearest training example ")[2].rstrip(")").split("; usual here ")
    assert 0 < float(near) < float(usual) < 1
    fixed = analyze_records(records, train, AnalyzeConfig(near_similarity=0.99), origin=Origin()).actions
    assert all("usual here" not in one.why for one in fixed)


def test_few_examples_and_examples_of_one_group_say_nothing_of_what_is_usual() -> None:
    space = Space.open(WORDS)
    chosen = [prompt for _, prompt in prompts()[:200]]
    assert space.compare(chosen[:1], [example(prompt, "x", name="one") for prompt in chosen], count=1).usual is None
    few = [example(prompt, "x", name=str(number)) for number, prompt in enumerate(chosen[:40])]
    assert space.compare(chosen[:1], few, count=1).usual is None
    assert evidence_of(few, ["Which taxes apply in Peru?", chosen[0]], AnalyzeConfig(), space).num_lacking == 1


def test_copies_of_one_prompt_do_not_make_near_prompts_usual() -> None:
    """A split never has them on two sides, so a held-out prompt has none."""
    space = Space.open(WORDS)
    chosen = [prompt for _, prompt in prompts()[:120]]
    once = [example(prompt, "x", name=str(number)) for number, prompt in enumerate(chosen)]
    twice = [*once, *(example(f"{one.prompt} Please!", "x", name=f"again {one.id}") for one in once)]
    usual, of_copies = (space.compare(chosen[:1], train, count=1).usual for train in (once, twice))
    assert usual
    assert of_copies
    assert of_copies.middle < usual.middle + 0.05
