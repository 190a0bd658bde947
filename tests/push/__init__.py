"""Push services and the fakes that stand in for them."""
