"""The end of a process of the command line."""

import atexit
import gc


def end_quickly() -> None:
    """Has this process end without a last search for garbage: with torch and its compiler loaded, that takes
    a second, after Ctrl-C as after work that is done. What the search would free, the system does."""
    atexit.register(gc.freeze)
