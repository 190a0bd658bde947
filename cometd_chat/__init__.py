"""A CometD-compatible long-poll chat server for mobile customer care."""

__version__ = "0.1.0"
