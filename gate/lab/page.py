"""The report as one HTML file that asks nobody else for anything."""

import base64
import hashlib
import re
from collections.abc import Sequence
from importlib import resources

from gate.lab.markup import Markup, element, join

_TITLES = {
    "errors": "Errors",
    "significance": "Significance",
    "det": "DET",
    "spread": "Scores",
    "crops": "Crops",
    "disagreement": "Disagreement",
    "degradations": "Degradations",
    "attributes": "Attributes",
    "bias": "Bias",
    "provenance": "Provenance",
}


def page(title: str, header: str, sections: Sequence[str]) -> str:
    """The whole document.

    Its policy lets it run its own script and style, which it names by their hashes, show pictures that it carries
    itself, and nothing else.

    Args:
        title: Of the window.
        header: Markup of the head of the page.
        sections: Markup of the sections, each `<section id=...>`; empty ones are left out.
    """
    style, script = _own_file("report.css"), _own_file("report.js")
    policy = "; ".join(
        (
            "default-src 'none'",
            f"script-src '{_hash(script)}'",
            f"style-src '{_hash(style)}'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", name="referrer", content="no-referrer"),
        element("link", rel="icon", href="data:,"),
        element("title", title),
        Markup(f"<style>{style}</style>"),
    )
    shown = [part for part in sections if part]
    body = element("body", header, _navigation(shown), element("main", *shown), Markup(f"<script>{script}</script>"))
    return join(Markup("<!doctype html>\n"), element("html", head, body, lang="en"), "\n")


def _navigation(sections: Sequence[str]) -> Markup:
    anchors = [match[1] for part in sections if (match := re.match(r'<section id="([a-z]+)"', part))]
    links = (element("li", element("a", _TITLES[anchor], href=f"#{anchor}")) for anchor in anchors)
    return element("nav", element("ul", *links), aria_label="Sections")


def _own_file(name: str) -> str:
    return resources.files("gate.lab").joinpath(name).read_text(encoding="utf-8")


def _hash(content: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}"
