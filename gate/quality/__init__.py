"""Face image quality: every method behind `load_method`.

Importing this room imports no torch; loading a method does.
"""

from typing import TYPE_CHECKING

from gate.quality.registry import MethodInfo, load_method, method_info, methods

if TYPE_CHECKING:
    from gate.quality.loading import load_backbone as load_backbone
    from gate.quality.method import QualityMethod as QualityMethod

__all__ = ["MethodInfo", "QualityMethod", "load_backbone", "load_method", "method_info", "methods"]


def __getattr__(name: str) -> object:
    if name == "load_backbone":
        from gate.quality.loading import load_backbone

        return load_backbone
    if name == "QualityMethod":
        from gate.quality.method import QualityMethod

        return QualityMethod
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
