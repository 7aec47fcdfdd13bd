"""The crash record: every row of it is run by a command, kept in a JSON file, and shown on a page."""
