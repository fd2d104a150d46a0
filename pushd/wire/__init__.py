"""Formats: bytes in, core objects out, and back. Pure; one file per format."""
