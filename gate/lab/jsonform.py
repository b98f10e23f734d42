"""Dataclasses to plain JSON values and back, by their annotations.

Knows what the results are made of: dataclasses, tuples of one kind, dicts of text, literals, numbers and text. Numbers
that are not finite become null, and null becomes NaN where a number is expected. A field whose metadata says
`"json": False` is left out and takes its default.
"""

import math
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")


def plain(value: Any) -> Any:
    """A value as `json.dumps` takes it."""
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value) if _is_kept(f)}
    if isinstance(value, Mapping):
        return {key: plain(entry) for key, entry in value.items()}
    if isinstance(value, tuple):
        return [plain(entry) for entry in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return value


def _is_kept(entry: "Field[Any]") -> bool:
    return bool(entry.metadata.get("json", True))


def typed(kind: type[T], data: Mapping[str, Any]) -> T:
    """A dataclass from what `plain` made of it; raises KeyError or TypeError for anything else.

    A field that has a default may be missing: the file is older than the field.
    """
    hints = get_type_hints(kind)
    known = [f for f in fields(kind) if _is_kept(f)]  # type: ignore[arg-type] # only called with dataclasses
    wanted = [f.name for f in known if f.name in data or f.default is MISSING]
    return kind(**{name: _value(hints[name], data[name]) for name in wanted})


def _value(hint: Any, data: Any) -> Any:
    origin = get_origin(hint)
    if origin is tuple:
        return tuple(_value(get_args(hint)[0], entry) for entry in data)
    if origin is dict:
        return dict(data)
    if origin in {Union, UnionType, Literal}:
        return data
    if hint is float:
        return math.nan if data is None else float(data)
    return typed(hint, data) if isinstance(hint, type) and is_dataclass(hint) else data
