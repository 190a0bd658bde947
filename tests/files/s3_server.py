"""A server that speaks S3: moto's, in a process of its own."""

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

HOST = "127.0.0.1"
STARTING = 60.0
"""Seconds that the server may take to start on a full machine."""


@contextlib.contextmanager
def running(log: Path) -> Iterator[str]:
    """Run a server; gives its address."""
    with socket.socket() as sock:
        sock.bind((HOST, 0))
        port = sock.getsockname()[1]
    url = f"http://{HOST}:{port}"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", HOST, "-p", str(port)],
            stdout=output,
            stderr=output,
            env={**os.environ, "PYTHONWARNINGS": "ignore"},
        )
    try:
        _await(url, process, log)
        yield url
    finally:
        process.kill()
        process.wait()


def make_bucket(url: str, name: str) -> None:
    """Make a bucket; whoever asks is let in."""
    request = urllib.request.Request(f"{url}/{name}", method="PUT")  # noqa: S310 - ours
    with urllib.request.urlopen(request) as response:  # noqa: S310 - as above
        assert response.status == 200


def _await(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + STARTING
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(url).close()  # noqa: S310 - ours
            return
        time.sleep(0.05)
    raise AssertionError(f"moto did not start: {log.read_text(errors='replace')}")
