"""Waiting for a condition, never for a time."""
import threading
import time

_PAUSE_S = 0.02


class TimedOut(AssertionError):
    """The condition did not come true before its deadline."""


def until(condition, what, seconds=30):
    """Asks `condition` again and again until it gives something true, and returns that."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimedOut(f"not within {seconds} s: {what}")
        threading.Event().wait(_PAUSE_S)
