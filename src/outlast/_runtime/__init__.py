"""The loops: they claim, run, commit and tidy. They know programs, and nothing of the shapes behind them."""
