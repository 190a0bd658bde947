"""Clients in a real browser."""
