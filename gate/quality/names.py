"""Help for a name that nobody knows."""

import difflib
from collections.abc import Iterable


def nearest(wrong: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: the nearest known one, or all of them.

    >>> nearest("grafics", ["grafiqs", "serfiq"])
    "; did you mean 'grafiqs'?"
    >>> nearest("zzz", ["grafiqs", "serfiq"])
    '; known: grafiqs, serfiq'
    """
    names = list(known)
    near = difflib.get_close_matches(wrong, names, n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(names)}"
