"""Tests of the Bayeux core, without I/O."""
