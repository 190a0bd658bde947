"""`python -m tests.conformance URL`: runs the cases against any Bayeux server.

Prints which cases passed and which differ, and exits with status 1 if one does. The
server must let clients publish and subscribe on and below `--channel`. It is told
what `--ext` says with each handshake; `--service` is a service channel that sends
back what it gets, if it has one. `--websocket` goes that way instead of HTTP.
"""

import asyncio
import json
import sys
from argparse import ArgumentParser, Namespace

from tests.conformance.table import Result, results
from tests.conformance.targets import HttpTarget, SocketTarget


def main() -> int:
    """Run what the command line says; return the exit status."""
    return asyncio.run(_main(_arguments()))


def _arguments() -> Namespace:
    parser = ArgumentParser(prog="python -m tests.conformance", description=__doc__)
    parser.add_argument("url", metavar="URL")
    parser.add_argument("--channel", default="/conformance")
    parser.add_argument("--ext", type=json.loads, default={})
    parser.add_argument("--service")
    parser.add_argument("--websocket", action="store_true")
    return parser.parse_args()


async def _main(asked: Namespace) -> int:
    words = {"ext": asked.ext, "channel": asked.channel}
    if asked.service:
        words["service"] = asked.service
    over = "websocket" if asked.websocket else "http"
    target = SocketTarget if asked.websocket else HttpTarget
    found = []
    async for result in results(lambda: target(asked.url, words), over, words):
        print(line(result), flush=True)  # noqa: T201 - a command line
        found.append(result)
    differing = sum(bool(result.differs) for result in found)
    print(f"{len(found) - differing} passed, {differing} differ")  # noqa: T201
    return 1 if differing else 0


def line(result: Result) -> str:
    """Return a result as one line for people."""
    verdict = f"  -- {result.differs}" if result.differs else ""
    mark = "differs" if result.differs else "passed "
    return f"{mark}  {result.case.clause}: {result.case.name}{verdict}"


if __name__ == "__main__":
    sys.exit(main())
