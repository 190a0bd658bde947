"""Use cases over a real store, with a clock that stands still until it is moved."""
