"""Checks of options that come from a configuration, where anything may stand."""

from gate.errors import QualityError


def check_count(method: str, option: str, value: object, *, least: int = 1, most: int | None = None) -> None:
    """Raise `QualityError` unless `value` is a whole number of at least `least` and at most `most`."""
    number = value if isinstance(value, int) and not isinstance(value, bool) else None
    if number is None or number < least or (most is not None and number > most):
        limit = f"at least {least}" if most is None else f"{least} to {most}"
        raise QualityError(f"{method}: {option} must be a whole number, {limit}, got {value!r}")


def check_fraction(method: str, option: str, value: object) -> None:
    """Raise `QualityError` unless `value` is a number above 0 and at most 1."""
    number = value if isinstance(value, (int, float)) and not isinstance(value, bool) else None
    if number is None or not 0 < number <= 1:
        raise QualityError(f"{method}: {option} must be a number above 0 and at most 1, got {value!r}")
