"""Statements for foreign connections, a file per database."""
