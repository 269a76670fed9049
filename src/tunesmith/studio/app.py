"""The application and its server.

>>> run_studio(StudioConfig(), say=print)      # until Ctrl-C
the studio is at http://127.0.0.1:8080
"""

from __future__ import annotations

import asyncio
import gc
import hashlib
import socket
import sys
import webbrowser
from collections.abc import Callable, Mapping
from functools import partial

import uvicorn
from fastapi import FastAPI
from fastapi.responses import Response
from nicegui import __version__, ui
from nicegui import app as nicegui_app
from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp

from tunesmith.config import StudioConfig
from tunesmith.errors import ConfigError
from tunesmith.serve.connections import MAX_HEADER_BYTES, limited_protocol
from tunesmith.studio.access import LOGIN, Access, Guard
from tunesmith.studio.bodies import BodyLimit
from tunesmith.studio.kept_files import KeptFiles
from tunesmith.studio.pages import install_pages
from tunesmith.studio.processes import Starter
from tunesmith.studio.reading import Library
from tunesmith.studio.reports import add_reports
from tunesmith.studio.shell import Studio
from tunesmith.studio.theme import FAVICON, stylesheet

MOST_CONNECTIONS = 256
"""At a time; a page of ours has two."""
CLIENT_SECONDS = 15.0
"""For a request's headers to come, or a piece of an answer to be taken."""
ZIPPED = 1
"""Level of compression: a fifth more bytes than with the usual 9, in a quarter of the time, in which no other page comes."""
LATE_SCRIPT = f"/_nicegui/{__version__}/static/dompurify.mjs"
"""What every page imports, and finds out only once everything else is there."""
LOGS = ".studio"
"""Folder beside the runs with what started processes printed."""


def create_app(config: StudioConfig, access: Access) -> FastAPI:
    """The application, one in a process: NiceGUI's pages are the process' own."""
    studio = Studio(
        config=config, library=Library(config.runs.resolve(), config.data.resolve()), starter=Starter(config.runs.resolve() / LOGS)
    )
    app = FastAPI(title="tunesmith studio", docs_url=None, redoc_url=None, openapi_url=None)
    add_reports(app, studio.library)
    install_pages(studio)
    _add_stylesheet(app)
    ui.add_head_html(f'<link rel="modulepreload" href="{LATE_SCRIPT}">', shared=True)
    nicegui_app.on_startup(lambda: asyncio.to_thread(studio.library.data_sets))  # and all runs, before the first visit
    ui.run_with(
        app,
        title="tunesmith studio",
        favicon=FAVICON,
        dark=None,
        language="en-US",
        tailwind=False,
        show_welcome_message=False,
        reconnect_timeout=30,
        gzip_middleware_factory=partial(GZipMiddleware, compresslevel=ZIPPED),
    )
    app.add_middleware(KeptFiles)
    app.add_middleware(BodyLimit)
    app.add_middleware(Guard, access=access)  # the last one added comes first
    return app


def _add_stylesheet(app: FastAPI) -> None:
    """One file, kept by browsers until it changes."""
    content = stylesheet()
    path = f"/studio-{hashlib.sha256(content.encode()).hexdigest()[:12]}.css"

    @app.get(path)
    def studio_css() -> Response:
        return Response(content, media_type="text/css", headers={"cache-control": "public, max-age=31536000, immutable"})

    ui.add_head_html(f'<link rel="stylesheet" href="{path}">', shared=True)


def run_studio(
    config: StudioConfig, *, say: Callable[[str], None], announce: Callable[[Mapping[str, str | None]], None] | None = None
) -> None:
    """Serve until Ctrl-C.

    Args:
        config: directories and address.
        say: told where the studio is, in sentences.
        announce: told the same in a document, for programs.

    Raises:
        ConfigError: the address cannot be listened on.
    """
    listening = _listen(config)
    port = listening.getsockname()[1]
    access = Access.on(config.host, allowed=config.allow_host, cookie=f"tunesmith-studio-{port}")
    address = f"http://{_shown(config.host)}:{port}"
    first_page = f"{address}{LOGIN}?token={access.token}" if access.token else address
    say(f"the studio is at {first_page}")
    if access.token:
        say(
            "whoever has this address can read your runs and data and start training; it is not encrypted, so use it in a network you trust"
        )
    if announce:
        announce({"address": address, "first_page": first_page, "token": access.token})
        sys.stdout.flush()
    if config.open:
        webbrowser.open(first_page)
    app = create_app(config, access)
    gc.collect()
    gc.freeze()  # what was imported stays: a look through all of it takes a tenth of a second, in which no page comes
    uvicorn.Server(server_settings(app)).run(sockets=[listening])


def server_settings(app: ASGIApp, *, client_seconds: float = CLIENT_SECONDS) -> uvicorn.Config:
    """How the application is served: as the API server is, connections within bounds.

    Args:
        app: guarded already.
        client_seconds: until a connection is closed that owes its headers, or does not take its answer.
    """
    return uvicorn.Config(
        app,
        http=limited_protocol(max_connections=MOST_CONNECTIONS, seconds=client_seconds),
        h11_max_incomplete_event_size=MAX_HEADER_BYTES,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=3,
        ws_max_size=4 * 1024 * 1024,
    )


def _listen(config: StudioConfig) -> socket.socket:
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((config.host, config.port))
        listening.listen(128)
    except OSError as error:
        listening.close()
        raise ConfigError(
            f"{config.host}:{config.port}",
            f"it cannot be listened on ({error.strerror or error})",
            expected="a free port of an address of this machine",
            remedy="choose another with --port, or stop what is using it",
        ) from None
    return listening


def _shown(host: str) -> str:
    """The host as a browser on another machine would write it."""
    if host in ("0.0.0.0", "::"):  # noqa: S104 - all addresses; the machine's name leads to one of them
        return socket.gethostname()
    return f"[{host}]" if ":" in host else host
