"""The table of settings, their parsers, and the reload."""
