"""Encodings: core objects to bytes, and bytes to core objects. Pure; one file per format."""
