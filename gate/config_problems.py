"""What a validation error of the configuration says to a person."""

import difflib
import re
from typing import Any

from pydantic import BaseModel


def causes(problems: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The problems without those of a list that is only too short because an entry of it is broken."""
    places = [problem["loc"] for problem in problems]
    return [
        problem
        for problem in problems
        if not any(
            len(place) > len(problem["loc"]) and place[: len(problem["loc"])] == problem["loc"] for place in places
        )
    ]


def explain(problem: dict[str, Any], model: type[BaseModel]) -> str:
    """One line for one entry of pydantic's `ValidationError.errors()` of `model`: the key, and the broken rule."""
    unknown = problem["type"] == "extra_forbidden"
    # The forms that a value may have are in brackets there; they are no keys. An unknown key may begin like one.
    kept = len(problem["loc"]) - 1 if unknown else -1
    location = tuple(part for n, part in enumerate(problem["loc"]) if n == kept or not str(part).startswith("("))
    key = ".".join(str(part) for part in location) or "file"
    if unknown:
        known = _keys_beside(location, model)
        near = difflib.get_close_matches(str(location[-1]), known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(sorted(known))}"
        return f"unknown key {key!r}; {hint}"
    # Only the rule is repeated, never the value: it may be a password at the wrong place.
    return f"{key}: {re.sub(r'^Value error, ', '', problem['msg'])}"


def _keys_beside(location: tuple[int | str, ...], model: type[BaseModel]) -> list[str]:
    """The keys that are known where the last part of `location` was found."""
    models = [model]
    for part in location[:-1]:
        if isinstance(part, int):
            continue
        annotations = [known.model_fields[part].annotation for known in models if part in known.model_fields]
        models = [form for annotation in annotations for form in _forms(annotation) if _is_model(form)]
    return [key for known in models for key in known.model_fields]


def _forms(annotation: Any) -> list[Any]:
    """What an annotation may stand for, without what was said about it."""
    return [getattr(form, "__origin__", form) for form in (annotation, *getattr(annotation, "__args__", ()))]


def _is_model(candidate: Any) -> bool:
    return isinstance(candidate, type) and issubclass(candidate, BaseModel)
