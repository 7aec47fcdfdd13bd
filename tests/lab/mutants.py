"""Planted bugs."""
MUTANTS: dict = {}
