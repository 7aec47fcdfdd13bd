"""Numbered, forward only. A migration that has been released is never edited."""
