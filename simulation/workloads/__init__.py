"""What simulated clusters work on. Each has a right end that is known without the engine."""
