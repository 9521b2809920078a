"""Words for people that every part of the program needs."""

from collections.abc import Collection


def nearest(word: str, known: Collection[str]) -> str:
    """Sentences for a mistyped word: the nearest known one, and all of them."""
    import difflib  # only for who made a mistake

    close = difflib.get_close_matches(word, known, n=1)
    return (f"Did you mean {close[0]!r}? " if close else "") + "There are: " + ", ".join(known)
