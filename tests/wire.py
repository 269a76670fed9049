"""Bytes as they are, to servers that are to stand everything."""

from __future__ import annotations

import socket
import time
from contextlib import suppress


def answer_to(address: tuple[str, int], *pieces: bytes, pause: float = 0.0, timeout: float = 5.0) -> bytes:
    """Send the pieces one after another, and read until the server hangs up."""
    with socket.create_connection(address, timeout=timeout) as connection:
        with suppress(BrokenPipeError, ConnectionResetError):
            for piece in pieces:
                connection.sendall(piece)
                time.sleep(pause)
        answer = b""
        with suppress(ConnectionResetError):
            while more := connection.recv(65536):
                answer += more
        return answer
