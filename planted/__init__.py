"""Bugs that are planted on purpose: whether the simulation, the interleavings or the suite find them."""
