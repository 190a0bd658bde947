"""Which client has been sent what: cursors into transcripts, and mailboxes.

How it works. The transcript is the queue. A client that reads a session has a
*cursor* in it: `acked` is the position it confirmed, `sent` the newest one that went
into a response. `take()` puts everything behind `sent` into one response, whether
it happened a moment or a week ago: live delivery, a lost response and the replay
after a reconnect are the same call. `acknowledge()` moves `acked` up to `sent`;
`lost()` moves `sent` back to `acked`.

A change that continues a cursor without a hole brings its entries along (`tail`),
so that the hot path reads nothing. Whatever does not fit leaves the cursor
*behind*, and the store is read in `catch_up()`. Both are hints about the same
truth, so they may come twice, late or never.

What has no position (notices for agents, lists, receipts) goes through a bounded
mailbox (`bayeux/mailbox.py`) that follows the same responses.
"""

from .catching_up import Each, Reads, at_once, in_turn
from .cursor import PAGE, Cursor, Form, Reading
from .delivery import Delivery, Mark

__all__ = [
    "PAGE",
    "Cursor",
    "Delivery",
    "Each",
    "Form",
    "Mark",
    "Reading",
    "Reads",
    "at_once",
    "in_turn",
]
