"""Clients that talk to the server over real sockets, as phones and consoles do."""
