"""Backends: where the history is kept, and how messages pass between nodes."""
