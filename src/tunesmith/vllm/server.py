"""A vLLM of our own: started on a free port of this machine with a key, ended when we end, its log kept.

>>> with running([base, tuned], Launch(log=folder / "vllm.log", dtype="bfloat16")) as server:
...     server.version
'0.32.0'
"""

from __future__ import annotations

import re
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai

from tunesmith.errors import AssetError, ConfigError
from tunesmith.vllm.command import VllmModel, environment, find_vllm, serve_command
from tunesmith.vllm.keeper import SECONDS_TO_END

HOST = "127.0.0.1"
SECONDS_BETWEEN_LOOKS = 0.2
SECONDS_OF_A_REQUEST = 3600.0
"""A prompt waits for its turn, and answers are long: only a server that hangs takes as long."""
_AN_ERROR = re.compile(r"(?:^|[\s.])([A-Z]\w*(?:Error|Exception): .+)", re.MULTILINE)
"""As Python ends with; not one that a warning quotes."""


@dataclass(frozen=True, kw_only=True)
class Launch:
    """How a server is started."""

    log: Path
    """What vLLM says; an earlier one is replaced."""
    dtype: str
    max_length: int | None = None
    """Most tokens of prompt and completion together; None: what the model and the memory allow."""
    options: str = ""
    """Further words for vLLM."""
    seconds_to_start: float = 1800.0
    """Large models are read for long, and compiled."""


@dataclass(frozen=True, kw_only=True)
class VllmServer:
    """A server that answers."""

    client: openai.OpenAI
    process: subprocess.Popen[bytes]
    launch: Launch
    version: str

    def trouble(self, what: str) -> AssetError:
        """An error that says whether vLLM still runs, and what it said."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(2)  # its end is noticed a moment after the connection's
        code = self.process.poll()
        return _failed(self.launch, what if code is None else f"it ended with exit code {code} while it was answering")


@contextmanager
def running(models: Sequence[VllmModel], launch: Launch, say: Callable[[str], None]) -> Iterator[VllmServer]:
    """Start vLLM, wait until it answers for all of these models, and end it after the block.

    Raises:
        ConfigError: vLLM is not installed, or options say what is not for them to say.
        AssetError: it does not start.
    """
    program = find_vllm()
    _refuse_taken(launch.options)
    key, port = secrets.token_urlsafe(32), _free_port()
    length = [] if launch.max_length is None else ["--max-model-len", str(launch.max_length)]
    extra = ["--generation-config", "vllm", *length]  # none of the model's own sampling settings: requests say everything
    command = serve_command(models, host=HOST, port=port, dtype=launch.dtype, extra=extra, options=launch.options)
    say(f"starting vLLM, which takes a while; its log is {launch.log}")
    process = _start([program, *command[1:]], key, launch.log)
    # Never through a proxy: the address is on this machine.
    client = openai.OpenAI(
        base_url=f"http://{HOST}:{port}/v1",
        api_key=key,
        max_retries=0,
        timeout=SECONDS_OF_A_REQUEST,
        http_client=openai.DefaultHttpxClient(trust_env=False),
    )
    try:
        _wait_until_ready(client, process, launch, [model.name for model in models])
        yield VllmServer(client=client, process=process, launch=launch, version=_version(client))
    finally:
        client.close()
        _end(process)


TAKEN = ("--host", "--port", "--api-key", "--root-path", "--served-model-name", "--lora-modules")
"""Options by which the server would not be found, or not know its models by the names that are asked for."""


def _refuse_taken(options: str) -> None:
    if taken := next((option for option in TAKEN if re.search(rf"(?:^|\s){option}(?:[\s=]|$)", options)), None):
        raise ConfigError(
            "--vllm-options", taken, expected="options beside those that tunesmith gives a server of its own", remedy=f"leave {taken} out"
        )


def _start(words: list[str], key: str, log: Path) -> subprocess.Popen[bytes]:
    """In a session of its own, so that Ctrl-C reaches it through us alone."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as file:
        return subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-m", "tunesmith.vllm.keeper", *words],
            stdin=subprocess.PIPE,
            stdout=file,
            stderr=file,
            env=environment(key),
            start_new_session=True,
        )


def _end(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    process.stdin.close()
    try:
        process.wait(SECONDS_TO_END + 10)
    except subprocess.TimeoutExpired:
        process.kill()


def _free_port() -> int:
    with socket.create_server((HOST, 0)) as one:
        return int(one.getsockname()[1])


def _wait_until_ready(client: openai.OpenAI, process: subprocess.Popen[bytes], launch: Launch, names: Sequence[str]) -> None:
    until = time.monotonic() + launch.seconds_to_start
    while True:
        if (code := process.poll()) is not None:
            raise _failed(launch, f"it ended with exit code {code} before it was ready")
        try:
            known = {model.id for model in client.with_options(timeout=5).models.list()}
        except (openai.AuthenticationError, openai.PermissionDeniedError, openai.NotFoundError) as error:
            raise _failed(launch, f"what answers on its port is not what was started ({error.status_code})") from None
        except openai.APIError:
            pass  # not yet
        else:
            if missing := set(names) - known:
                raise _failed(launch, f"it does not know {', '.join(sorted(missing))}")
            return
        if time.monotonic() > until:
            raise _failed(launch, f"it was not ready after {launch.seconds_to_start:g} s")
        time.sleep(SECONDS_BETWEEN_LOOKS)


def _version(client: openai.OpenAI) -> str:
    """What it says of itself; nothing depends on it."""
    try:
        found: Any = client.get("http://" + client.base_url.netloc.decode() + "/version", cast_to=object)
        return str(found["version"])
    except (openai.APIError, LookupError, TypeError):
        return "of unknown version"


def _failed(launch: Launch, what: str) -> AssetError:
    return AssetError(
        "vLLM",
        f"{what}; its log says {_gist(launch.log)!r}",
        expected="a server that answers",
        remedy=f"see {launch.log}; --vllm-options hands vLLM further options, such as '--gpu-memory-utilization 0.5'; "
        "or use --engine tunesmith",
    )


def _gist(log: Path) -> str:
    """The first error it names, which the later ones follow from; else its last words."""
    text = log.read_text(encoding="utf-8", errors="replace")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    found = _AN_ERROR.search(text)
    return (found.group(1) if found else lines[-1] if lines else "nothing")[:400]
