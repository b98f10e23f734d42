"""Which method scores, what scores in its place when it cannot, and who is asked about faces close to the bar.

`gate.config` offers these names too.
"""

from pathlib import Path
from typing import Any

from pydantic import Field, field_validator, model_validator
from pydantic.config import JsonDict

from gate.config_section import Section


class FallbackConfig(Section):
    """A method that scores when those before it cannot."""

    method: str
    """Methods that score when `quality.method` cannot, in this order; a name, or a list of names, does too. The first
    one that is in order takes over, and `[]` takes none. Default: `serfiq` where its weights are here already, then
    `sharpness`, which needs none."""

    backbone: str | None = None
    """As `quality.backbone`, for this method; default is the method's own."""

    weights: str | None = None
    """As `quality.weights`, for this method."""

    options: dict[str, Any] = Field(default_factory=dict)
    """As `quality.options`, for this method."""


DEFAULT_FALLBACK = (FallbackConfig(method="serfiq"), FallbackConfig(method="sharpness"))
"""What scores in place of a method unless somebody chose: a trunk of another file than the shipped regressor's, and
what needs no file at all."""


class SecondOpinionConfig(Section):
    """When the next method is asked too, and its word counts. Left out, nobody is asked.

    Nor is anybody while the engine cannot keep up with its cameras: `max_fps` leaves it the time.
    """

    within: float = Field(default=5.0, gt=0, le=50)
    """Faces whose quality is at most this far from a bar are asked about, the nearest first. Nobody is asked where
    the next method that is in order needs no weights."""

    budget_ms_per_s: float = Field(default=100.0, gt=0, le=1000)
    """Time that this may take on average, in milliseconds a second; beyond it the first opinion counts."""


def _also_names(schema: JsonDict) -> None:
    """A name stands for a section, and one for a list of one."""
    one: JsonDict = {"anyOf": [schema.pop("items"), {"type": "string"}]}
    schema.pop("type")
    schema["anyOf"] = [{"type": "array", "items": one}, one]


class QualityConfig(Section):
    """Which method scores, on which network and device."""

    method: str = "regressor"
    """A name from `gate methods`."""

    backbone: str | None = None
    """A backbone from `gate models list`, a checkpoint path or `module:function`; default is the method's own."""

    weights: str | None = None
    """Weights of a regressor: zoo name or path."""

    device: str = Field(default="auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$")
    """`auto` takes the first GPU when torch sees one. Where it fails later, the CPU goes on."""

    options: dict[str, Any] = Field(default_factory=dict)
    """Options of the method, such as `phi: block2` of grafiqs."""

    fallback: tuple[FallbackConfig, ...] = Field(default=DEFAULT_FALLBACK, json_schema_extra=_also_names)
    """What scores when the method cannot."""

    second_opinion: SecondOpinionConfig | None = None
    """Who is asked about faces close to the bar."""

    calibration: Path | None = None
    """File of raw → 0..100 maps; default is the one that ships with the package. Fallbacks that it does not know use
    the latter."""

    max_batch: int = Field(default=32, ge=1, le=1024)
    """Most crops scored at once."""

    threads: int | None = Field(default=None, ge=1, le=256)
    """CPU threads of a network; default is half of the cores, at least one."""

    @property
    def chain(self) -> tuple[FallbackConfig, ...]:
        """The method and what scores in its place, in order.

        A default fallback stands only behind what is better than it.
        """
        first = FallbackConfig(
            method=self.method, backbone=self.backbone, weights=self.weights, options=dict(self.options)
        )
        after = [entry.method for entry in self.fallback]
        if self.has_default_fallback and self.method in after:
            return (first, *self.fallback[after.index(self.method) + 1 :])
        return (first, *self.fallback)

    @property
    def has_default_fallback(self) -> bool:
        """True when the fallbacks are the usual ones, for which nothing is fetched."""
        return self.fallback == DEFAULT_FALLBACK

    @field_validator("fallback", mode="before")
    @classmethod
    def _names_are_sections(cls, value: Any) -> Any:
        entries = value if isinstance(value, (list, tuple)) else [value]
        return [{"method": entry} if isinstance(entry, str) else entry for entry in entries]

    @model_validator(mode="after")
    def _each_method_is_another_one(self) -> "QualityConfig":
        chain = self.chain
        for place, entry in enumerate(chain):
            if entry in chain[:place]:
                raise ValueError(f"fallback: {entry.method} stands there already, and would fail for the same reason")
        return self

    @model_validator(mode="after")
    def _somebody_can_be_asked(self) -> "QualityConfig":
        if self.second_opinion is not None and len(self.chain) < 2:
            raise ValueError("second_opinion: there is no fallback to ask; name one in fallback, or remove it")
        return self
