"""Faults that an example shows by itself: what is found, what is left alone, what a fix makes of it."""

from __future__ import annotations

import pytest

from tests.samples import conversation, qa, raw
from tunesmith.data.checks import answers, control_characters, mojibake, pii, profanity, residue
from tunesmith.data.checks.phrasing import machine_made
from tunesmith.data.checks.refusals import is_refusal

ASKED = "How do I reset my password?"


@pytest.mark.parametrize("answer", ["", "  \n", ".", "<br/>", "\u200b", "&nbsp;", '""'])
def test_answers_that_say_nothing(answer: str) -> None:
    assert answers.spot_empty(qa(ASKED, answer))


@pytest.mark.parametrize("answer", ["4", "No", "👍", "是", "x = 1", "N/A", "<b>bold</b>"])
def test_short_answers_that_say_something(answer: str) -> None:
    assert answers.spot_empty(qa(ASKED, answer)) is None


@pytest.mark.parametrize(
    "answer", ["TODO", "n/a", "N/A.", "…", "lorem ipsum dolor", "It is [insert date here].", "TODO: write this", "null"]
)
def test_placeholders(answer: str) -> None:
    assert answers.spot_placeholder(qa(ASKED, answer))


@pytest.mark.parametrize(
    "answer", ["None.", "There is nothing to do.", "Use [brackets] and <tags>.", "```python\n# TODO: x\n```", "The TODO list"]
)
def test_no_placeholders(answer: str) -> None:
    assert answers.spot_placeholder(qa(ASKED, answer)) is None


def test_who_asks_for_a_form_gets_blanks() -> None:
    assert answers.spot_placeholder(qa("Write a letter of complaint.", "Dear [insert name], …")) is None
    assert answers.spot_placeholder(qa("Who signs?", "It is [insert name].")) is not None


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (ASKED, "nothing else"),
        (ASKED.upper(), "nothing else"),
        (f"{ASKED} In the settings.", "before answering"),
        ("In the settings.", None),
    ],
)
def test_repeated_prompts(answer: str, kind: str | None) -> None:
    found = answers.spot_repeated_prompt(qa(ASKED, answer))
    assert (found.kind if found else None) == kind


def test_a_greeting_may_be_answered_by_itself() -> None:
    assert answers.spot_repeated_prompt(qa("Hello!", "Hello!")) is None


@pytest.mark.parametrize(("wrong", "right"), [("donâ€™t", "don’t"), ("cafÃ©", "café"), ("GrÃ¼ÃŸe", "Grüße")])
def test_mojibake_is_put_right(wrong: str, right: str) -> None:
    assert mojibake.spot(qa(ASKED, wrong))
    assert mojibake.fix(wrong) == right


@pytest.mark.parametrize("text", ["café", "naïve – “quoted”…", "Ångström", "日本語", "Привет", "5 €", "½ cup", "plain"])
def test_text_in_order_is_left_alone(text: str) -> None:
    assert mojibake.spot(qa(text, text)) is None
    assert mojibake.fix(text) == text


def test_what_a_decoder_lost_is_found_and_stays() -> None:
    found = mojibake.spot(qa(ASKED, "gr\ufffd\ufffde"))
    assert found
    assert found.kind == "lost for good"
    assert mojibake.fix("gr\ufffd") == "gr\ufffd"


@pytest.mark.parametrize(
    ("wrong", "right"),
    [("a\x00b", "ab"), ("zero\u200bwidth", "zerowidth"), ("\ufeffstart", "start"), ("a\u202eb", "ab"), ("a\u200db", "ab")],
)
def test_control_characters_go(wrong: str, right: str) -> None:
    assert control_characters.spot(qa(ASKED, wrong))
    assert control_characters.fix(wrong) == right


@pytest.mark.parametrize("text", ["line\nbreak\ttab\r\n", "👨‍👩‍👧", "می‌خواهم", "שלום\u200f", "क्‍ष"])
def test_characters_that_a_script_needs_stay(text: str) -> None:
    assert control_characters.fix(text) == text
    assert control_characters.spot(qa(text, text)) is None


def test_a_control_character_within_mojibake_is_left_to_its_fix() -> None:
    wrong = "Ã\x89poque"
    assert control_characters.fix(wrong) == wrong
    assert mojibake.fix(wrong) == "Époque"


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("### Question:\nHow?\n\n### Answer:", "How?"),
        ("### Question:\n  \n\n### Answer:", "  "),
        ("### Instruction:\nAdd.\n\n### Input:\n1 2\n\n### Response:\n", "Add.\n\n1 2"),
        ("<|im_start|>user\nHi?<|im_end|>\n<|im_start|>assistant\n", "Hi?"),
        ("<s>[INST] Hi? [/INST]", "Hi?"),
        ("<|start_header_id|>user<|end_header_id|>\n\nHi?<|eot_id|>", "Hi?"),
        ("<start_of_turn>user\nHi?<end_of_turn>\n", "Hi?"),
        ("Human: Hi?\n\nAssistant:", "Hi?"),
        ("Done.</s>", "Done."),
        ("### Response:\nDone.", "Done."),
    ],
)
def test_what_a_template_wraps_is_taken_out(wrong: str, right: str) -> None:
    assert residue.find(wrong)
    assert residue.fix(wrong) == right


@pytest.mark.parametrize(
    "text",
    [
        "What does <|im_end|> mean?",
        "The token </s> ends a text.",
        "## Question\nof style",
        "Use `{question}` as a place.",
        "```\n{{ name }}\n```",
        "It holds {x} and ${{ github.ref }}.",
        "The assistant: a short history",
        "Use <s>struck</s> words.",
    ],
)
def test_texts_that_speak_of_templates_are_left_alone(text: str) -> None:
    assert residue.find(text) is None
    assert residue.fix(text) == text


@pytest.mark.parametrize(
    "text", ["### Human: Hi### Assistant: Hello", "[INST] <<SYS>>\nBe kind.\n<</SYS>>\n\nHi [/INST]", "Dear {{name}}, {question}"]
)
def test_what_cannot_be_unwrapped_is_flagged_and_stays(text: str) -> None:
    assert residue.find(text)
    assert residue.fix(text) == text


def test_an_answer_that_goes_on_with_the_next_turn() -> None:
    assert residue.spot(qa(ASKED, "In the settings.\n\nHuman: And then?"))


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("Write to ann.b+news@mail.firm.co.uk.", "Write to [EMAIL]."),
        ("Call (555) 123-4567 or +44 20 7946 0958!", "Call [PHONE] or [PHONE]!"),
        ("Card 4111 1111 1111 1111, 378282246310005", "Card [CARD], [CARD]"),
        ("IBAN DE89 3704 0044 0532 0130 00.", "IBAN [IBAN]."),
        ("From 81.2.69.142 and 2a00:1450:4001:82a::2004", "From [IP] and [IP]"),
        ("key AKIAQ3EGRT5PLMZ7XA2B", "key [SECRET]"),
        ("ghp_a1B2c3D4e5F6g7H8i9J0a1B2c3D4e5F6g7H8", "[SECRET]"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----", "[PRIVATE_KEY]"),
        ("SSN 123-45-6789", "SSN [SSN]"),
        ("tel. 030 1234 5678", "tel. [PHONE]"),
    ],
)
def test_personal_data_is_masked(text: str, masked: str) -> None:
    assert pii.mask(text) == masked
    assert pii.spot(qa(ASKED, text))


@pytest.mark.parametrize(
    "text",
    [
        "4111 1111 1111 1112",
        "DE89 3704 0044 0532 0130 01",
        "1234-5678-9012-3456",
        "2024-01-15 10:00:00",
        "3.14159265358979",
        "ISBN 978-3-16-148410-0",
        "192.168.1.1 and 127.0.0.1",
        "version 1.2.3.4",
        "a@b and @home",
        "sk-learn-is-a-library-for-python",
        "12:30:45:10",
    ],
)
def test_numbers_that_are_nobodys(text: str) -> None:
    assert pii.mask(text) == text


@pytest.mark.parametrize(
    ("text", "is_vulgar"),
    [("What the FUCK!", True), ("bull shit", True), ("Moby Dick, a cockpit, the ass", True), ("Dick in a cockpit", False)],
)
def test_vulgar_words_are_whole_words(text: str, is_vulgar: bool) -> None:
    assert (profanity.spot(qa(ASKED, text)) is not None) == is_vulgar


def test_every_text_of_an_example_is_looked_at() -> None:
    mail = "ann@firm.org"
    assert pii.spot(raw(f"Write to {mail}"))
    assert pii.spot(conversation(("s", f"You are {mail}."), ("u", "Hi"), ("a", "Hello")))


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ("as an ai language model, i cannot.", True),
        ("it's important to note this. i hope this helps!", True),
        ("i hope this helps!", False),
        ("as a rule, save first.", False),
    ],
)
def test_machine_phrasing(answer: str, found: bool) -> None:
    assert (machine_made(answer) is not None) == found


@pytest.mark.parametrize(
    ("answer", "declines"),
    [
        ("I'm sorry, but I can't help with that.", True),
        ("That is outside what I can help with.", True),
        ("Unfortunately, I am unable to answer this.", True),
        ("Sorry for the delay: it is fixed.", False),
        ("You cannot undo this.", False),
        ("I cannot help, but you may ask our support.", True),
        ("I can't help anything like that.", True),
        ("I cannot share enough details of this.", True),
        ("I can't answer that well enough to be of use.", True),
        ("I can't help but feel sorry that I cannot assist with this.", True),
        ("I'm sorry, I won't lie for you.", True),
        ("We won't share the code of our model.", True),
        ("I can't help but smile at this.", False),
        ("I can’t help thinking that it is too loud.", False),
        ("I can't help it, I love this grinder.", False),
        ("I cannot recommend it enough.", False),
        ("I cannot support this idea enough!", False),
        ("Sorry to gush, but I can't recommend it enough: it is quiet.", False),
        ("Sorry for the delay, I can't wait to show you the machine!", False),
        ("I'm sorry, I couldn't agree more.", False),
        ("We won't share your data with anybody.", False),
    ],
)
def test_refusals(answer: str, declines: bool) -> None:
    assert is_refusal(answer) == declines


@pytest.mark.parametrize(
    "text", ["### Question:\n" * 8000, "Human: " * 20000, "<s> " * 20000, "{{" * 20000, "a@a." + "a." * 20000, "+1 " * 20000]
)
def test_endless_repetitions_come_to_an_end(text: str) -> None:
    """Each takes milliseconds; a pattern that goes back over and over would take minutes."""
    assert len(residue.fix(text)) <= len(text)
    assert pii.find(text) is not None
    assert answers.spot_placeholder(qa(text, text)) is None
