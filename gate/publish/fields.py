"""How one value of an event is written as bytes in a stream entry, read back strictly, and shown as JSON.

Every kind refuses on writing exactly what it refuses on reading, so a producer cannot publish what a consumer must
throw away. Refusals say what is wrong with the value; `gate.publish.event` adds the field.
"""

import base64
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from gate.errors import EventError

_INTEGER = re.compile(r"-?[0-9]{1,18}")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,4})?")
_LONGEST_NUMBER = 32
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_MOST_NAMES = 64

MOST_MS = 2**53 - 1
"""Largest integer every JSON reader keeps exact."""


class Kind(Protocol):
    """One way of writing a value."""

    @property
    def form(self) -> str:
        """How the bytes in the stream look, in a few words for the documentation."""
        ...

    def write(self, value: Any) -> bytes:
        """The bytes of `value`; raises `EventError`."""
        ...

    def read(self, data: bytes) -> Any:
        """The value of `data`; raises `EventError`."""
        ...

    def plain(self, value: Any) -> Any:
        """`value` as JSON can hold it."""
        ...

    def schema(self) -> dict[str, Any]:
        """JSON Schema of what `plain` returns."""
        ...


def _text(data: bytes, most_bytes: int) -> str:
    if len(data) > most_bytes:
        raise EventError(f"{len(data)} bytes, at most {most_bytes} are allowed")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise EventError("not UTF-8 text") from None


def _write_number(value: Any, low: float, high: float) -> str:
    if isinstance(value, (bool, str, bytes)):
        raise EventError(f"expected a number, got {type(value).__name__}")
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise EventError(f"expected a number, got {type(value).__name__}") from None
    # repr is the shortest text that reads back as the same number, whatever the locale.
    return repr(_in_range(number, low, high))


def _read_number(text: str, low: float, high: float) -> float:
    if len(text) > _LONGEST_NUMBER or _NUMBER.fullmatch(text) is None:
        raise EventError(f"not a number: {text[:_LONGEST_NUMBER]!r}")
    return _in_range(float(text), low, high)


def _in_range(number: float, low: float, high: float) -> float:
    if not math.isfinite(number):
        raise EventError("not finite")
    if not low <= number <= high:
        raise EventError(f"{number:g} is outside {low:g}..{high:g}")
    return number


@dataclass(frozen=True, slots=True)
class Text:
    """Printable text that matches `pattern` as a whole."""

    pattern: str
    most_bytes: int = 256
    form: str = "UTF-8 text"

    def write(self, value: Any) -> bytes:
        """See `Kind.write`."""
        if not isinstance(value, str):
            raise EventError(f"expected text, got {type(value).__name__}")
        try:
            data = value.encode("utf-8")
        except UnicodeEncodeError:
            raise EventError("text with a lone surrogate") from None
        self.read(data)
        return data

    def read(self, data: bytes) -> str:
        """See `Kind.read`."""
        text = _text(data, self.most_bytes)
        # A terminal or a log obeys control characters, so none may come in through an event.
        if not text.isprintable() or re.fullmatch(self.pattern, text) is None:
            raise EventError(f"{text[:64]!r} does not match {self.pattern}")
        return text

    def plain(self, value: Any) -> Any:
        """See `Kind.plain`."""
        return value

    def schema(self) -> dict[str, Any]:
        """See `Kind.schema`."""
        return {"type": "string", "pattern": f"^{self.pattern}$"}


@dataclass(frozen=True, slots=True)
class Integer:
    """A whole number in low..high."""

    low: int = 0
    high: int = MOST_MS
    form: str = "decimal integer"

    def write(self, value: Any) -> bytes:
        """See `Kind.write`."""
        if isinstance(value, bool) or not hasattr(value, "__index__"):
            raise EventError(f"expected a whole number, got {type(value).__name__}")
        return str(self._checked(value.__index__())).encode("ascii")

    def read(self, data: bytes) -> int:
        """See `Kind.read`."""
        text = _text(data, _LONGEST_NUMBER)
        if _INTEGER.fullmatch(text) is None:
            raise EventError(f"not a whole number: {text!r}")
        return self._checked(int(text))

    def _checked(self, number: int) -> int:
        if not self.low <= number <= self.high:
            raise EventError(f"{number} is outside {self.low}..{self.high}")
        return number

    def plain(self, value: Any) -> Any:
        """See `Kind.plain`."""
        return int(value)

    def schema(self) -> dict[str, Any]:
        """See `Kind.schema`."""
        return {"type": "integer", "minimum": self.low, "maximum": self.high}


@dataclass(frozen=True, slots=True)
class Flag:
    """Yes or no."""

    form: str = "0 or 1"

    def write(self, value: Any) -> bytes:
        """See `Kind.write`."""
        if not isinstance(value, bool):
            raise EventError(f"expected True or False, got {type(value).__name__}")
        return b"1" if value else b"0"

    def read(self, data: bytes) -> bool:
        """See `Kind.read`."""
        if data not in {b"0", b"1"}:
            raise EventError("expected 0 or 1")
        return data == b"1"

    def plain(self, value: Any) -> Any:
        """See `Kind.plain`."""
        return bool(value)

    def schema(self) -> dict[str, Any]:
        """See `Kind.schema`."""
        return {"type": "boolean"}


@dataclass(frozen=True, slots=True)
class Number:
    """A finite number in low..high."""

    low: float = -1e12
    high: float = 1e12
    form: str = "decimal number"

    def write(self, value: Any) -> bytes:
        """See `Kind.write`."""
        return _write_number(value, self.low, self.high).encode("ascii")

    def read(self, data: bytes) -> float:
        """See `Kind.read`."""
        return _read_number(_text(data, _LONGEST_NUMBER), self.low, self.high)

    def plain(self, value: Any) -> Any:
        """See `Kind.plain`."""
        return float(value)

    def schema(self) -> dict[str, Any]:
        """See `Kind.schema`."""
        return {"type": "number", "minimum": self.low, "maximum": self.high}


@dataclass(frozen=True, slots=True)
class Numbers:
    """`count` finite numbers in low..high."""

    count: int
    low: float = -1e6
    high: float = 1e6

    @property
    def form(self) -> str:
        """See `Kind.form`."""
        return f"{self.count} comma-separated decimal numbers"

    def write(self, value: Any) -> bytes:
        """See `Kind.write`."""
        try:
            texts = [_write_number(number, self.low, self.high) for number in value]
        except TypeError:
            raise EventError(f"expected {self.count} numbers, got {type(value).__name__}") from None
        self._check_count(len(texts))
        return ",".join(texts).encode("ascii")

    def read(self, data: bytes) -> tuple[float, ...]:
        """See `Kind.read`."""
        texts = _text(data, (_LONGEST_NUMBER + 1) * self.count).split(",")
        self._check_count(len(texts))
        return tuple(_read_number(text, self.low, self.high) for text in texts)

    def _check_count(self, found: int) -> None:
        if found != self.count:
            raise EventError(f"expected {self.count} numbers, got {found}")

    def plain(self, value: Any) -> Any:
        """See `Kind.plain`."""
        return [float(number) for number in value]

    def schema(self) -> dict[str, Any]:
        """See `Kind.schema`."""
        item = {"type": "number", "minimum": self.low, "maximum": self.high}
        return {"type": "array", "items": item, "minItems": self.count, "maxItems": self.count}


@dataclass(frozen=True, slots=True)
class Names:
    """Any number of lower-case names; none is the empty text."""

    form: str = "comma-separated names, or empty"

    def write(self, value: Any) -> bytes:
        """See `Kind.write`."""
        if isinstance(value, (str, bytes)):
            raise EventError(f"expected a tuple of names, got {type(value).__name__}")
        return ",".join(_checked_names(value)).encode("ascii")

    def read(self, data: bytes) -> tuple[str, ...]:
        """See `Kind.read`."""
        text = _text(data, _MOST_NAMES * 65)
        return tuple(_checked_names(text.split(","))) if text else ()

    def plain(self, value: Any) -> Any:
        """See `Kind.plain`."""
        return list(value)

    def schema(self) -> dict[str, Any]:
        """See `Kind.schema`."""
        return {"type": "array", "items": {"type": "string", "pattern": f"^{_NAME.pattern}$"}, "maxItems": _MOST_NAMES}


@dataclass(frozen=True, slots=True)
class NamedValues:
    """A flat JSON object of lower-case names, each with a value of one kind."""

    values: Number | Integer
    form: str = "JSON object"

    def write(self, value: Any) -> bytes:
        """See `Kind.write`."""
        if not isinstance(value, Mapping):
            raise EventError(f"expected a mapping, got {type(value).__name__}")
        parts = [f'"{name}":{self.values.write(value[name]).decode("ascii")}' for name in _checked_names(value)]
        return f"{{{','.join(parts)}}}".encode("ascii")

    def read(self, data: bytes) -> dict[str, float]:
        """See `Kind.read`."""
        text = _text(data, _MOST_NAMES * 128)
        try:
            # Numbers stay text, so that they pass the same rules as everywhere else.
            found = json.loads(text, parse_float=_Literal, parse_int=_Literal, parse_constant=_Literal)
        except (ValueError, RecursionError):
            raise EventError("not JSON") from None
        if not isinstance(found, dict) or not all(isinstance(value, _Literal) for value in found.values()):
            raise EventError("not a JSON object of numbers")
        return {name: self.values.read(found[name].encode("utf-8")) for name in _checked_names(found)}

    def plain(self, value: Any) -> Any:
        """See `Kind.plain`."""
        return {name: self.values.plain(number) for name, number in value.items()}

    def schema(self) -> dict[str, Any]:
        """See `Kind.schema`."""
        names = {"pattern": f"^{_NAME.pattern}$"}
        return {"type": "object", "propertyNames": names, "additionalProperties": self.values.schema()}


class _Literal(str):
    """A number of a JSON text as it was written."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Picture:
    """A JPEG file of at most `most_bytes`; only its first bytes are looked at here."""

    most_bytes: int
    form: str = "JPEG file"

    def write(self, value: Any) -> bytes:
        """See `Kind.write`."""
        if not isinstance(value, bytes):
            raise EventError(f"expected bytes, got {type(value).__name__}")
        return self.read(value)

    def read(self, data: bytes) -> bytes:
        """See `Kind.read`."""
        if len(data) > self.most_bytes:
            raise EventError(f"{len(data)} bytes, at most {self.most_bytes} are allowed")
        if not data.startswith(b"\xff\xd8\xff"):
            raise EventError("not a JPEG file")
        return data

    def plain(self, value: Any) -> Any:
        """See `Kind.plain`."""
        return base64.b64encode(value).decode("ascii")

    def schema(self) -> dict[str, Any]:
        """See `Kind.schema`."""
        return {"type": "string", "contentEncoding": "base64", "contentMediaType": "image/jpeg"}


def _checked_names(names: Any) -> list[str]:
    try:
        checked = list(names)
    except TypeError:
        raise EventError(f"expected names, got {type(names).__name__}") from None
    if len(checked) > _MOST_NAMES:
        raise EventError(f"{len(checked)} names, at most {_MOST_NAMES} are allowed")
    for name in checked:
        if not isinstance(name, str) or _NAME.fullmatch(name) is None:
            raise EventError(f"{str(name)[:64]!r} is not a lower-case name")
    return checked
