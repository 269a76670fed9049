"""A model of ours inside lm-evaluation-harness: its tasks, our engine, the scores of its own Hugging Face backend.

    import lm_eval
    from tunesmith.evaluate.benchmarks.harness import TunesmithLM
    from tunesmith.tuned import open_model

    model = TunesmithLM.of(open_model("runs/faq"))
    lm_eval.simple_evaluate(model=model, tasks=["hellaswag"], limit=100)

Text becomes tokens exactly as in `lm_eval.models.huggingface.HFLM` (where context and continuation part, who adds a
beginning-of-text token, what is cut), so the numbers agree; how the tokens are computed is `tunesmith.engine`'s.
Importing this module needs the extra: `pip install 'tunesmith[bench]'`.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import jinja2
from tqdm import tqdm
from transformers import PreTrainedModel

from tunesmith.config import GenerateConfig, build
from tunesmith.engine.generation.generate import generate
from tunesmith.engine.likelihood import TOKENS_PER_PACK, Likelihood, LikelihoodRequest, log_likelihoods, rolling_log_likelihoods
from tunesmith.errors import ConfigError, DataError
from tunesmith.tuned import OpenedModel
from tunesmith.types import Completion

try:
    from lm_eval.api.model import LM, TemplateLM
    from lm_eval.evaluator import evaluate
    from lm_eval.models.utils import normalize_gen_kwargs, resolve_max_length
except ImportError as error:
    raise ConfigError(
        "benchmarks",
        "lm-evaluation-harness is not installed",
        expected="the library that holds the tasks",
        remedy="pip install 'tunesmith[bench]'",
    ) from error

__all__ = ["LM", "Completing", "TunesmithLM", "evaluate", "generate_config"]
"""What the others of this room need of the harness comes from here, so that its absence is said in one place."""

logger = logging.getLogger(__name__)

SAMPLING_KEYS = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty")
"""Generation arguments of a task that are handed on; `top_k: 0` means all, as in transformers."""


Completing = Callable[..., list[Completion]]
"""`engine.generation.generate.generate` without its network, or another engine's."""


class TunesmithLM(TemplateLM):  # type: ignore[misc]
    """lm-evaluation-harness' three kinds of requests, answered by our engine."""

    def __init__(
        self,
        network: PreTrainedModel,
        tokenizer: Any,
        *,
        max_length: int | None = None,
        add_bos_token: bool | None = None,
        prefix_token_id: int | None = None,
        stop_ids: Collection[int] = (),
        max_gen_toks: int = 256,
        tokens_per_pack: int = TOKENS_PER_PACK,
        generation_batch_size: int = 32,
    ) -> None:
        """Wrap a network in evaluation mode and its tokenizer.

        Args:
            max_length: most tokens the model reads; None takes the model's own limit.
            add_bos_token: begin every text with the beginning-of-text token, or never; None does as the tokenizer does.
            prefix_token_id: what the first token of a text without context is predicted from; None takes the
                beginning-of-text token, or where there is none the end-of-text token.
            stop_ids: generation ends at these too, besides the model's and the tokenizer's own.
            max_gen_toks: most new tokens where the task does not say.
        """
        super().__init__()
        self.network, self._device = network, network.device
        self.tokenizer = _with_bos(tokenizer, add_bos_token)
        self.add_bos_token = add_bos_token
        self.max_length = max_length or resolve_max_length(network.config, tokenizer)
        self.max_gen_toks, self.tokens_per_pack, self.generation_batch_size = max_gen_toks, tokens_per_pack, generation_batch_size
        self.custom_prefix_token_id = prefix_token_id
        self.stop_ids = _stop_ids(network, tokenizer) | set(stop_ids)
        self.complete: Completing = partial(generate, network)
        """Who writes answers out."""

    @classmethod
    def of(cls, opened: OpenedModel, **settings: Any) -> TunesmithLM:
        """Wrap a named model or a run as `open_model` gives it; `settings` as for the class."""
        settings.setdefault("stop_ids", opened.renderer.stop_ids)
        return cls(opened.hugging_face_network, opened.loaded.tokenizer, **settings)

    @property
    def eot_token_id(self) -> int:
        return int(self.tokenizer.eos_token_id)

    @property
    def prefix_token_id(self) -> int:
        candidates = (self.custom_prefix_token_id, self.tokenizer.bos_token_id, self.tokenizer.eos_token_id)
        return int(next(token for token in candidates if token is not None))

    @property
    def tokenizer_name(self) -> str:
        return str(self.tokenizer.name_or_path).replace("/", "__")

    def get_model_info(self) -> dict[str, Any]:
        """What the harness writes beside the results."""
        return {"model_num_parameters": self.network.num_parameters(), "model_dtype": str(self.network.dtype)}

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, left_truncate_len: int | None = None, **_: Any) -> list[int]:
        """Token ids of one text. A text that begins with the beginning-of-text token gets no second one, unless told to."""
        ids = self._encode_all([string], add_special_tokens)[string]
        return ids[-left_truncate_len:] if left_truncate_len else ids

    def tok_decode(self, tokens: Sequence[int], skip_special_tokens: bool = True) -> str:
        return str(self.tokenizer.decode(tokens, skip_special_tokens=skip_special_tokens))

    def _encode_all(self, strings: Iterable[str], add_special_tokens: bool | None = None) -> dict[str, list[int]]:
        """Every different text once, in batches: the same prompts come again and again."""
        prefix = self.tokenizer.decode(self.prefix_token_id)
        batches: dict[bool | None, list[str]] = {}
        for string in dict.fromkeys(strings):
            wanted = self.add_bos_token if add_special_tokens is None else add_special_tokens
            begun = add_special_tokens is None and string.startswith(prefix)
            batches.setdefault(False if begun else wanted, []).append(string)
        encoded: dict[str, list[int]] = {}
        for special, batch in batches.items():
            options = {} if special is None else {"add_special_tokens": special}
            ids = self.tokenizer(batch, return_attention_mask=False, verbose=False, **options)["input_ids"]
            encoded.update(zip(batch, ids, strict=True))
        return encoded

    def loglikelihood(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        """(log-likelihood, is greedy) of each (context, continuation)."""
        pairs = [_move_spaces(*request.args) for request in requests]
        whole = self._encode_all(text for pair in pairs if pair.context for text in (pair.context, pair.context + pair.continuation))
        alone = self._encode_all((pair.continuation for pair in pairs if not pair.context), add_special_tokens=False)
        encoded = []
        for request, (context, continuation) in zip(requests, pairs, strict=True):
            if context:
                context_ids = whole[context]
                ids = context_ids, whole[context + continuation][len(context_ids) :]
            else:
                ids = self._after_prefix(alone[continuation])
            encoded.append((request.args, *ids))
        return self._loglikelihood_tokens(encoded, disable_tqdm=disable_tqdm)

    def _after_prefix(self, ids: list[int]) -> tuple[list[int], list[int]]:
        """A continuation without context is predicted from the prefix token, which it may begin with itself."""
        return (ids[:1], ids[1:]) if ids[:1] == [self.prefix_token_id] else ([self.prefix_token_id], ids)

    def _loglikelihood_tokens(
        self, requests: Sequence[tuple[Any, Sequence[int], Sequence[int]]], disable_tqdm: bool = False, **_: Any
    ) -> list[tuple[float, bool]]:
        with _bar(len(requests), "log-likelihoods", disable_tqdm) as on_progress:
            found = log_likelihoods(
                self.network,
                [LikelihoodRequest(context_ids=tuple(context), continuation_ids=tuple(ids)) for _, context, ids in requests],
                context_length=self.max_length,
                tokens_per_pack=self.tokens_per_pack,
                on_progress=on_progress,
            )
        _say_cut([answer.num_cut_tokens for answer in found], self.max_length)
        return [_pair(answer) for answer in found]

    def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[float]:
        """Log-likelihood of each whole text, in windows of the model's length."""
        strings = [request.args[0] for request in requests]
        encoded = self._encode_all(strings)
        with _bar(None, "windows", disable_tqdm) as on_progress:
            found = rolling_log_likelihoods(
                self.network,
                [encoded[string] for string in strings],
                prefix_id=self.prefix_token_id,
                context_length=self.max_length,
                tokens_per_pack=self.tokens_per_pack,
                on_progress=on_progress,
            )
        return [answer.log_probability for answer in found]

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """The text that follows each (context, generation arguments), up to the first stop string."""
        groups: dict[str, list[int]] = {}
        for index, request in enumerate(requests):
            groups.setdefault(repr(request.args[1]), []).append(index)
        texts: dict[int, str] = {}
        for indices in groups.values():
            contexts = [requests[index].args[0] for index in indices]
            texts.update(zip(indices, self._generate(contexts, requests[indices[0]].args[1], disable_tqdm), strict=True))
        return [texts[index] for index in range(len(requests))]

    def _generate(self, contexts: Sequence[str], arguments: Mapping[str, Any], disable_tqdm: bool) -> list[str]:
        config = generate_config(arguments, max_gen_toks=self.max_gen_toks, batch_size=self.generation_batch_size)
        room = self.max_length - config.max_new_tokens
        if room < 1:
            raise ConfigError(
                "max_gen_toks", str(config.max_new_tokens), expected=f"fewer than the model's {self.max_length:,} tokens", remedy="lower it"
            )
        encoded = self._encode_all(contexts)
        if empty := [context for context in contexts if not encoded[context]]:
            raise DataError("prompts", f"{len(empty)} without a token", expected="a text to go on from", remedy="pass add_bos_token=True")
        _say_cut([max(0, len(encoded[context]) - room) for context in contexts], room)
        with _bar(len(contexts), "completions", disable_tqdm) as on_progress:
            completions = self.complete(
                [encoded[context][-room:] for context in contexts],
                config,
                stop_ids=self.stop_ids,
                context_length=self.max_length,
                parse=self.tok_decode,
                on_progress=on_progress,
            )
        return [_before_first(completion.text, config.stop) for completion in completions]

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """A conversation as one prompt, by the tokenizer's template; without the system message where it knows none.

        Raises:
            ConfigError: the tokenizer has no chat template.
        """
        if not self.tokenizer.chat_template:
            raise ConfigError(
                "--apply_chat_template",
                f"the tokenizer of {self.tokenizer.name_or_path} has no chat template",
                expected="a model tuned for chat",
                remedy="leave the option out",
            )
        options = {
            "tokenize": False,
            "add_generation_prompt": add_generation_prompt,
            "continue_final_message": not add_generation_prompt,
        }
        try:
            return str(self.tokenizer.apply_chat_template(chat_history, **options))
        except jinja2.TemplateError:
            logger.warning("the chat template refuses the conversation; its system message is left out")
            others = [message for message in chat_history if message["role"] != "system"]
            return str(self.tokenizer.apply_chat_template(others, **options))


def generate_config(arguments: Mapping[str, Any], *, max_gen_toks: int, batch_size: int) -> GenerateConfig:
    """Our settings for a task's generation arguments (`until`, `max_gen_toks`, `do_sample`, `temperature`, …).

    Raises:
        ConfigError: an argument has no counterpart here, or sampling is asked for at temperature 0.
    """
    known = normalize_gen_kwargs(dict(arguments), max_gen_toks)
    until, max_new_tokens, is_sampled = known.pop("until"), known.pop("max_gen_toks"), known.pop("do_sample", False)
    unknown = {key: value for key, value in known.items() if key not in SAMPLING_KEYS and value is not None}
    if unknown:
        raise ConfigError(
            "generation arguments", ", ".join(map(repr, unknown)), expected=", ".join(SAMPLING_KEYS), remedy="leave them out of the task"
        )
    if is_sampled and not known.get("temperature"):
        raise ConfigError("generation arguments", "do_sample without a temperature", expected="one above 0", remedy="set temperature")
    penalty = {key: known[key] for key in ("repetition_penalty",) if known.get(key) is not None}
    sampling = {key: known[key] for key in SAMPLING_KEYS if known.get(key)} if is_sampled else penalty
    stop = tuple(dict.fromkeys(string for string in until if string))
    return build(GenerateConfig, {**sampling, "stop": stop, "max_new_tokens": max_new_tokens, "batch_size": batch_size})


class _Pair(NamedTuple):
    context: str
    continuation: str


def _move_spaces(context: str, continuation: str) -> _Pair:
    """Spaces at a context's end belong to the continuation: tokenizers put them before the next word."""
    kept = context.rstrip()
    return _Pair(kept, context[len(kept) :] + continuation)


def _pair(answer: Likelihood) -> tuple[float, bool]:
    return answer.log_probability, answer.is_greedy


def _before_first(text: str, stops: Sequence[str]) -> str:
    for stop in stops:
        text = text.split(stop, 1)[0]
    return text


def _with_bos(tokenizer: Any, add_bos_token: bool | None) -> Any:
    """The tokenizer itself, or a copy that always or never adds the beginning-of-text token."""
    if add_bos_token is None:
        return tokenizer
    changed = copy.deepcopy(tokenizer)
    changed.add_bos_token = add_bos_token
    return changed


def _stop_ids(network: PreTrainedModel, tokenizer: Any) -> set[int]:
    ids = network.generation_config.eos_token_id
    return {tokenizer.eos_token_id, *([ids] if isinstance(ids, int) else ids or [])} - {None}


def _say_cut(num_cut_tokens: Sequence[int], limit: int) -> None:
    if count := sum(1 for number in num_cut_tokens if number):
        logger.warning(
            "%s of %s requests are longer than %s tokens: %s tokens at the beginning of their contexts are left out",
            *(f"{number:,}" for number in (count, len(num_cut_tokens), limit, sum(num_cut_tokens))),
        )


@contextmanager
def _bar(total: int | None, description: str, disabled: bool) -> Iterator[Callable[[int], None]]:
    """A progress bar and what sets it to the number done."""
    with tqdm(total=total, desc=description, disable=disabled) as bar:

        def show(num_done: int) -> None:
            bar.update(num_done - bar.n)

        yield show
