"""The live page: one HTML file that carries its own style and script."""

import base64
import hashlib
import re
from importlib import resources

from gate.observe.http import Response


def load_page() -> Response:
    """The page and a policy that lets it run its own script and style, talk to its own server, and nothing else.

    The policy names the two by their hashes, so nothing that might slip into the page later would run.
    """
    html = resources.files("gate.observe").joinpath("page.html").read_text(encoding="utf-8")
    policy = "; ".join(
        (
            "default-src 'none'",
            f"script-src '{_hash(html, 'script')}'",
            f"style-src '{_hash(html, 'style')}'",
            "connect-src 'self'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )
    return Response(html.encode(), "text/html; charset=utf-8", headers={"Content-Security-Policy": policy})


def _hash(html: str, tag: str) -> str:
    """The hash of the one element of this tag, as a Content-Security-Policy writes it."""
    (content,) = re.findall(rf"<{tag}>(.*?)</{tag}>", html, flags=re.DOTALL)
    return f"sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}"
