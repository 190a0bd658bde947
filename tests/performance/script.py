"""`scripts/bench` as a test starts it."""

import asyncio
import os

from bench.targets import ROOT

_OURS = ("COVERAGE", "PYTHONPATH", "PYTHONSAFEPATH")
"""What tests have in their environment for themselves."""


async def bench(*arguments: str) -> tuple[int | None, str]:
    """Run the script; return its exit status and what it says."""
    process = await asyncio.create_subprocess_exec(
        str(ROOT / "scripts" / "bench"),
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        # Coverage would slow the server, and nothing else; and it measures the sources.
        env={k: v for k, v in os.environ.items() if not k.startswith(_OURS)},
    )
    told, _ = await process.communicate()
    return process.returncode, told.decode()
