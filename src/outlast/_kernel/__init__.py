"""Pure rules: no clock, no dice, no await, no SQL."""
