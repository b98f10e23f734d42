"""Takes secrets out of whatever is about to be logged.

Libraries put whole URLs into their messages (PyAV and OpenCV the camera's with its password), so every string of a
log entry is searched, however deep it lies. In doubt more is hidden than needed.
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from gate.redact import safe_address

HIDDEN = "…"

_SCHEME = re.compile(r"(?<![A-Za-z0-9+.-])[A-Za-z][A-Za-z0-9+.-]{0,31}://")
_ASSIGNED = re.compile(
    r"(?i)\b(pass(?:word|wd|phrase)?|pwd|token|secret|api[_-]?key|authorization)(\s*=\s*|:\s*(?=basic\b|bearer\b))"
    r"(?:(?:basic|bearer|digest)\s+)?[^\s,;]+"
)
_SECRET_KEY = re.compile(r"(?i)pass(word|wd|phrase)|pwd|secret|token|credential|api_?key|authorization|cookie")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")
_TRAILING = ":,;.)'\""
_DEEPEST = 6
_SPACE = re.compile(r"\s")


def scrub_text(text: str) -> str:
    r"""The text with every URL in it reduced to scheme and host, and `password=…` without its value.

    A password may hold spaces, so everything up to the last `@` behind a URL is taken for a part of it.

    >>> scrub_text("cannot open 'rtsp://admin:s3cret@door.lan:554/live?token=abc': refused")
    "cannot open 'rtsp://door.lan:554': refused"
    >>> scrub_text("cannot open rtsp://admin:two words@door.lan/live")
    'cannot open rtsp://…'
    """
    parts: list[str] = []
    end = 0
    while (scheme := _SCHEME.search(text, end)) is not None:
        parts.append(text[end : scheme.start()])
        shown, end = _scrub_url(text, scheme)
        parts.append(shown)
    parts.append(text[end:])
    return _ASSIGNED.sub(rf"\1\2{HIDDEN}", "".join(parts))


def _scrub_url(text: str, scheme: re.Match[str]) -> tuple[str, int]:
    """What to show of the URL whose `scheme://` was found, and where the text goes on."""
    end = _word_end(text, scheme.end())
    sign = text.rfind("@", end)
    if sign >= 0:
        return scheme[0].lower() + HIDDEN, _word_end(text, sign)
    url = text[scheme.start() : end]
    bare = url.rstrip(_TRAILING)
    shown = safe_address(bare)
    return shown if shown.endswith(HIDDEN) else shown + url[len(bare) :], end


def _word_end(text: str, start: int) -> int:
    space = _SPACE.search(text, start)
    return len(text) if space is None else space.start()


def scrub(value: Any, depth: int = 0) -> Any:
    """A copy fit for JSON without secrets: numbers as they are, containers copied, all else as scrubbed text.

    Control characters are escaped, so that a message from the network cannot forge a line of the log.
    """
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if depth < _DEEPEST:
        if isinstance(value, Mapping):
            return {_key(key): _entry(key, entry, depth + 1) for key, entry in value.items()}
        if isinstance(value, Sequence | set | frozenset) and not isinstance(value, str | bytes | bytearray):
            return [scrub(entry, depth + 1) for entry in value]
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), scrub_text(str(value)))


def _key(key: Any) -> str:
    return str(scrub(str(key)))


def _entry(key: Any, value: Any, depth: int) -> Any:
    """A secret under a telling name is hidden whatever it looks like."""
    if _SECRET_KEY.search(str(key)) and value is not None and not isinstance(value, bool):
        return HIDDEN
    return scrub(value, depth)
