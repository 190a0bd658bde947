"""The key of agents' tokens for those who configured none.

It lies beside the database, readable by its owner only: the server and the command
that makes tokens find the same one, and a restart or a reload changes nothing.
"""

import contextlib
import dataclasses
import os
import secrets
import tempfile
from pathlib import Path

from cometd_chat.config import Config

NAME = "agents.secret"
SHORTEST = 32
"""Characters of a key for HMAC with SHA-256 (RFC 7518 §3.2)."""


class SecretFileError(Exception):
    """The file cannot be read or made; the text names it, never what is in it."""


def has_agent_key(config: Config) -> bool:
    """Tell whether a key for agents' tokens is configured."""
    return bool(config.agents.secret or config.agents.jwks)


def with_agent_secret(config: Config) -> Config:
    """Return the configuration with a key for agents' tokens.

    One that is configured (`[agents] secret` or `jwks`) stays. Otherwise the key
    comes from the file beside the database, which is made by the first who asks.

    Raises: SecretFileError.
    """
    if has_agent_key(config):
        return config
    path = Path(config.store.url.removeprefix("sqlite:///")).parent / NAME
    try:
        secret = _read_or_make(path)
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "it is not text"
        raise SecretFileError(
            f"{path}, which keeps the key of agents' tokens, cannot be used: {reason}. "
            "Set [agents] secret, or [store] url to a file in another folder"
        ) from None
    if len(secret) < SHORTEST:
        raise SecretFileError(f"{path} is damaged: remove it, and a new one is made")
    agents = dataclasses.replace(config.agents, secret=secret)
    return dataclasses.replace(config, agents=agents)


def new_secret() -> str:
    """Return a key of 256 random bits, in letters that need no quoting."""
    return secrets.token_urlsafe(32)


def _read_or_make(path: Path) -> str:
    try:
        return _read(path)
    except FileNotFoundError:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Where another process was faster, its key counts.
        with contextlib.suppress(FileExistsError):
            _make(path)
        return _read(path)


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8").strip()


def _make(path: Path) -> None:
    # Written aside and linked: nobody ever reads half of a key, and of two processes
    # one fails instead of replacing what the other has used already.
    with tempfile.NamedTemporaryFile("w", dir=path.parent, encoding="utf-8") as file:
        file.write(new_secret() + "\n")
        file.flush()
        os.fsync(file.fileno())
        os.link(file.name, path)
