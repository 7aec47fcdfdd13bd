"""From the code of a function to a graph, without running any of it."""
