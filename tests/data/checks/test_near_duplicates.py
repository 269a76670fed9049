"""All but the first of a cluster are flagged, with what prepare will do about it."""

from __future__ import annotations

from tunesmith.data.checks.finding import CheckContext
from tunesmith.data.checks.run import run_checks
from tunesmith.data.converting.examples import build_example
from tunesmith.types import Example, Message

ANSWER = "You can cancel at any time in the settings of your account, and what is left of the month is paid back."


def example(line: int, prompt: str, answer: str = ANSWER) -> Example:
    return build_example(f"faq.csv:{line}", messages=(Message(role="user", content=prompt), Message(role="assistant", content=answer)))


def test_copies_are_flagged_and_the_first_is_not() -> None:
    prompts = ["How can I cancel my order?", "What is it?", "How can I cancle my order?", "how can i cancel my order"]
    rows = [example(line, prompt, ANSWER if "order" in prompt else "A program.") for line, prompt in enumerate(prompts, 2)]
    [finding] = run_checks(rows, ["near-duplicates"], context=CheckContext())
    assert finding.flagged == (2, 3)
    assert finding.count == 2
    assert finding.share == 0.5
    assert finding.sentence == "2 examples (50 %) nearly repeat an earlier one; the largest cluster has 3 examples"
    assert (finding.severity, finding.action, finding.option) == ("warning", "kept", "--drop near-duplicates")
    assert finding.specimens[0].source == "faq.csv:2 and faq.csv:4"
    assert finding.figures["clusters"] == 1


def test_a_set_without_copies_has_no_finding() -> None:
    assert (
        run_checks(
            [example(2, "What is it?", "A program."), example(3, "Who made it?", "We did.")], ["near-duplicates"], context=CheckContext()
        )
        == []
    )
    assert run_checks([], ["near-duplicates", "contradictions", "topics", "languages"], context=CheckContext()) == []
