"""Sends odd requests in pieces, and keeps what comes back."""

import asyncio
import re
from urllib.parse import urlsplit

QUIET = 0.15
"""Seconds without a byte after which nothing more is expected."""


def bytewise(data: bytes) -> list[bytes]:
    return [data[i : i + 1] for i in range(len(data))]


async def answers(
    url: str, pieces: list[bytes], quiet: float = QUIET
) -> tuple[bytes, bool]:
    """Send the pieces; return what comes, and whether the connection is closed."""
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    received, closed = b"", False
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.002)
        while not closed:
            async with asyncio.timeout(quiet):
                data = await reader.read(65_536)
            received, closed = received + data, not data
    except TimeoutError:
        pass
    except ConnectionError:
        closed = True
    finally:
        writer.close()
    return comparable(received), closed


def comparable(received: bytes) -> bytes:
    """Return the responses without what differs from one moment to the next."""
    without_date = re.sub(rb"\r\nDate: [^\r]+", b"", received)
    return re.sub(rb"BAYEUX_BROWSER=[0-9a-f]{32}", b"BAYEUX_BROWSER=new", without_date)
