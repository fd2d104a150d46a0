"""The garbage collector in tests."""

import gc


def freeze() -> None:
    """Collect the garbage, and exempt the objects that are left from later collections, which take less time for it."""
    gc.collect()
    gc.freeze()
