"""Iframe streaming: messages as script tags of an endless page."""
