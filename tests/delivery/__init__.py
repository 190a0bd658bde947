"""Delivery alone: cursors, mailboxes and their races, without a clock or a socket."""
