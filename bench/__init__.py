"""Measures what the server costs: CPU time per delivered message, beside others.

`scripts/bench` runs it; `bench/README.md` says how.
"""
