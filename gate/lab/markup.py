"""HTML out of values, escaped by construction: a plain string can only ever become text."""

import html
import math
import unicodedata

_VOID = frozenset({"meta", "link", "img"})
"""Elements of HTML that have no end; the others of this package all have one."""


class Markup(str):
    """Text that is HTML already; made by this module's functions only."""

    __slots__ = ()


def text(value: str) -> Markup:
    """Escaped text. What would not survive UTF-8 or would reorder its surroundings is shown as a code instead."""
    return Markup(html.escape("".join(map(_visible, value)), quote=True))


def _visible(character: str) -> str:
    if character in "\n\t" or unicodedata.category(character) not in {"Cc", "Cf", "Cs"}:
        return character
    return f"\\u{ord(character):04x}"


def element(tag: str, *children: str, **attributes: str | float | None) -> Markup:
    """An element; children that are not `Markup` are escaped, attributes always are.

    A trailing underscore of an attribute's name is dropped and others become hyphens; None leaves it out.

    >>> element("a", "<b>", href="#x", class_="top", aria_label='"')
    '<a href="#x" class="top" aria-label="&quot;">&lt;b&gt;</a>'
    """
    written = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{text(_attribute(value))}"'
        for name, value in attributes.items()
        if value is not None
    )
    if tag in _VOID:
        return Markup(
            f"<{tag}{written}>" if tag in {"meta", "link", "img", "br", "hr", "col"} else f"<{tag}{written}/>"
        )
    return Markup(f"<{tag}{written}>{join(*children)}</{tag}>")


def join(*children: str) -> Markup:
    """Children one after the other, escaped where they are not `Markup`."""
    return Markup("".join(child if isinstance(child, Markup) else text(child) for child in children))


def _attribute(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:g}"


def number(value: float, digits: int = 3) -> str:
    """A number for a reader: fixed digits, a dash where it does not exist.

    >>> number(0.12345), number(float("nan")), number(float("inf"))
    ('0.123', '\u2013', '\u221e')
    """
    if math.isnan(value):
        return "\N{EN DASH}"
    if math.isinf(value):
        return "\N{INFINITY}" if value > 0 else "\N{MINUS SIGN}\N{INFINITY}"
    # Adding 0.0 makes a minus zero a plain one.
    return f"{round(value, digits) + 0.0:.{digits}f}".replace("-", "\N{MINUS SIGN}")


def interval(low: float, high: float, digits: int = 3) -> str:
    """`[low, high]`, or nothing where there is none."""
    return "" if math.isnan(low) or math.isnan(high) else f"[{number(low, digits)}, {number(high, digits)}]"


def per_cent(value: float, digits: int = 1) -> str:
    """A share of 0..1 in per cent."""
    return f"{number(100 * value, digits)} %" if math.isfinite(value) else number(value)
