"""Puts the pieces together; the only package that knows all of them.

`node` is one server, from its store to its port; `parts` is what serves chats in it,
wired. `process` runs a node for the command line, and loads its configuration again.
"""

from .node import RELEASING, Node
from .process import serve

__all__ = ["RELEASING", "Node", "serve"]
