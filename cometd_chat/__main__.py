"""`python -m cometd_chat` is the command `cometd-chat`."""

from cometd_chat.cli import main

main()
