"""The live page: one document, joined from its parts when the server starts."""

import base64
import hashlib
from importlib import resources

from gate.observe.answer import Response

_FOLDER = "page_files"

_SCRIPTS = ("words.js", "tile.js", "hour.js", "images.js", "page.js")
"""In this order: each uses only what stands before it."""


def load_page() -> Response:
    """The page and a policy that lets it run its own script and style, talk to its own server, and nothing else.

    The policy names the two by their hashes, so nothing that might slip into the page later would run.
    """
    return _document("page.html", script="".join(_read(name) for name in _SCRIPTS))


def sign_in_page(*, wrong: bool = False) -> Response:
    """A form that asks for the token; with `wrong` it says that the last one was not accepted."""
    return _document("sign_in.html", note="That token is not accepted." if wrong else "")


def _document(name: str, *, script: str = "", note: str = "") -> Response:
    style = _read("page.css")
    parts = {"/*style*/": style, "/*script*/": script, "<!--note-->": note}
    html = _read(name)
    for place, text in parts.items():
        html = html.replace(place, text)
    policy = "; ".join(
        (
            "default-src 'none'",
            f"script-src '{_hash(script)}'" if script else "script-src 'none'",
            f"style-src '{_hash(style)}'",
            "connect-src 'self'",
            "img-src 'self' data:",
            "base-uri 'none'",
            "form-action 'self'",
            "frame-ancestors 'none'",
        )
    )
    return Response(html.encode(), "text/html; charset=utf-8", headers={"Content-Security-Policy": policy})


def _read(name: str) -> str:
    return resources.files("gate.observe").joinpath(_FOLDER, name).read_text(encoding="utf-8")


def _hash(content: str) -> str:
    """The hash of an element's content, as a Content-Security-Policy writes it."""
    return f"sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}"
