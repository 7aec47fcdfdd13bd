"""Statements, a file per noun."""
