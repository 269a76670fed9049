"""What is checked of an example's finished tokens, by other means than the renderer used to make them.

>>> find_fault(renderer.render(example), renderer, max_length=1024)
'it ends in "red", not in an end-of-turn token: the model would never learn to stop'
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from itertools import compress, pairwise

from tunesmith.render.renderer import Renderer
from tunesmith.types import RenderedExample


def find_fault_of_all(renderings: Sequence[RenderedExample], renderer: Renderer, max_length: int) -> tuple[RenderedExample, str] | None:
    """The first fault of the renderings of one example, with the rendering that has it; None when all is sound.

    One rendering; or the two sides of a preference pair, the chosen one first; or the windows of a raw text.
    """
    if renderings[0].num_windows > 1:
        return _find_fault_of_windows(renderings, renderer, max_length)
    for rendered in renderings:
        if fault := find_fault(rendered, renderer, max_length):
            return rendered, fault
    fault = _check_pair(*renderings) if len(renderings) == 2 else None
    return (renderings[1], fault) if fault else None


def find_fault(rendered: RenderedExample, renderer: Renderer, max_length: int) -> str | None:
    """The first fault of an example's tokens, in words; None when it is sound."""
    return next((fault for check in CHECKS if (fault := check(rendered, renderer, max_length))), None)


def _check_supervised(rendered: RenderedExample, renderer: Renderer, max_length: int) -> str | None:
    del renderer, max_length
    return None if rendered.num_predicted else "no token is supervised"


def _check_length(rendered: RenderedExample, renderer: Renderer, max_length: int) -> str | None:
    del renderer
    return None if len(rendered.token_ids) <= max_length else f"{len(rendered.token_ids)} tokens, over {max_length}"


def _check_ending(rendered: RenderedExample, renderer: Renderer, max_length: int) -> str | None:
    del max_length
    if rendered.example.unfinished or rendered.window + 1 < rendered.num_windows:
        return None  # the text goes on
    last = rendered.token_ids[-1]
    if last not in renderer.stop_ids:
        return f"it ends in {renderer.decode([last])!r}, not in an end-of-turn token: the model would never learn to stop"
    return None if rendered.supervised[-1] else "its end-of-turn token is not supervised: the model would never learn to stop"


def _check_bos(rendered: RenderedExample, renderer: Renderer, max_length: int) -> str | None:
    del max_length
    if renderer.bos_id is None:
        return None
    count = rendered.token_ids.count(renderer.bos_id)
    if count != 1 or rendered.token_ids[0] != renderer.bos_id:
        return f"{count} beginning-of-sequence tokens where the model wants exactly one, first"
    return None


def _check_prompt(rendered: RenderedExample, renderer: Renderer, max_length: int) -> str | None:
    del max_length
    if rendered.example.text is not None or rendered.num_cut_tokens:
        return None  # raw text has no prompt; a cut prompt was rendered by the same function that serving cuts with
    prompt = renderer.prompt_ids(rendered.example.prompt_messages, rendered.example.fields)
    if rendered.token_ids[: len(prompt)] != prompt:
        return "its prompt has other tokens than the same prompt has in generation"
    if rendered.supervised[len(prompt) - 1 if prompt else 0]:
        return "the end of its prompt is supervised"
    return None


def _check_answer(rendered: RenderedExample, renderer: Renderer, max_length: int) -> str | None:
    """Decode what trains and compare it with what the user's file says."""
    del max_length
    return _compare_trained([rendered], renderer)


def _compare_trained(renderings: Sequence[RenderedExample], renderer: Renderer) -> str | None:
    """Of windows, what they train together is compared."""
    example = renderings[0].example
    if example.kind in ("pair", "judged"):
        answers = [example.reference]  # what a preference is about
    else:
        answers = [m.content for m in example.messages if m.role == "assistant"] if example.messages else [example.text or ""]
    trained = renderer.decode([token for one in renderings for token in compress(one.token_ids, one.supervised)])
    ending = "" if example.unfinished else renderer.end_of_turn
    expected = "".join(answer.strip() + ending for answer in answers)
    if trained != expected and _comparable(trained) != _comparable(expected):
        return f"what would be trained is not its answer but {trained[:80]!r}"
    return None


def _check_pair(chosen: RenderedExample, rejected: RenderedExample) -> str | None:
    """Both sides go through the other checks too; these are about the two together."""
    if chosen.token_ids == rejected.token_ids:
        return "its chosen and its rejected answer have the same tokens: there is nothing to prefer"
    prompt, other = (side.token_ids[: side.supervised.index(True)] for side in (chosen, rejected))
    if prompt != other:
        return "its chosen and its rejected answer do not follow the same prompt tokens"
    return None


def _find_fault_of_windows(windows: Sequence[RenderedExample], renderer: Renderer, max_length: int) -> tuple[RenderedExample, str] | None:
    for window in windows:
        checks = (_check_supervised, _check_length, _check_ending, _check_bos)
        if fault := next((fault for check in checks if (fault := check(window, renderer, max_length))), None):
            return window, fault
    for before, after in pairwise(windows):
        num_context = after.supervised.index(True)
        if num_context == 0 or after.token_ids[num_context - 1] != before.token_ids[-1]:
            return after, f"window {after.window + 1} does not go on where the one before ends"
    fault = _compare_trained(windows, renderer)
    return (windows[0], fault) if fault else None


def _comparable(text: str) -> str:
    """Equal for texts that differ only in what tokenizers and chat templates may normalise."""
    return "".join(unicodedata.normalize("NFKC", text).split())


Check = Callable[[RenderedExample, Renderer, int], str | None]

CHECKS: tuple[Check, ...] = (_check_supervised, _check_length, _check_ending, _check_bos, _check_prompt, _check_answer)
"""In the order in which a person would want to hear of them."""
