"""Measurements of the engine against the bare database. For development only: not part of the shipped package."""
