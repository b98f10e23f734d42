"""From quality bars that are wishes to numbers: once, when a gate is assembled.

A number rests on a method with its options on one set of weights. The method is checked when the wish is resolved; the
weights are known when the method is loaded, and `Thresholds.check` holds them against what the numbers rest on.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gate.baseline import Baselines, rounded_down
from gate.config import CameraConfig, DecideConfig, GateConfig, QualityConfig, build_config
from gate.config_bars import AcceptRate, FnmrAt
from gate.errors import ConfigError, GateError
from gate.quality.calibration import Calibration, CalibrationTable
from gate.quality.registry import method_info

LEAST_ERRORS_EXPECTED = 3.0
"""A rate of p needs 3 / p pairs without an error before 95 % of samples agree that it is not higher (rule of three)."""

_NOT_IN_A_MAP = frozenset({"backbone", "weights"})
"""Options of an evaluated method that its model tells."""


@dataclass(frozen=True, slots=True)
class Pairing:
    """What a number or a baseline rests on."""

    where: str
    """Names the key and the file in messages."""

    method: str
    model: str


@dataclass(frozen=True, slots=True)
class Resolved:
    """One wish that has become a number."""

    camera: str
    quality: float
    why: str
    """The wish in words, with its file."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """A configuration whose bars are numbers, and what they rest on."""

    config: GateConfig
    resolved: tuple[Resolved, ...]
    pairings: tuple[Pairing, ...]

    def check(self, method: str, model: str) -> None:
        """Refuse a loaded method on other weights than the numbers rest on. Raises `ConfigError`."""
        for pairing in self.pairings:
            if (pairing.method, pairing.model) != (method, model):
                raise ConfigError(
                    f"{pairing.where} was made with {_words(pairing.method, pairing.model)}, and this gate scores with "
                    f"{_words(method, model)}. Make it again with this method and these weights."
                )


def resolve(config: GateConfig) -> Thresholds:
    """Make numbers of all bars.

    Raises:
        ConfigError: a file cannot be read, is about another camera or method, or the wish cannot be met.
    """
    found: list[Resolved] = []
    pairings: list[Pairing] = []
    for camera in config.cameras:
        rules = config.rules_of(camera)
        try:
            pairings += _drift_pairing(camera, rules, config.quality)
            if isinstance(rules.min_quality, AcceptRate):
                number, pairing = _at_rate(camera, rules, rules.min_quality, config.quality)
            elif isinstance(rules.min_quality, FnmrAt):
                number, pairing = _at_outcome(camera, rules.min_quality, config.quality)
            else:
                continue
        except GateError as error:
            raise ConfigError(f"camera {camera.name!r}: decide: {error}") from None
        found.append(number)
        pairings.append(pairing)
    return Thresholds(_with_numbers(config, found), tuple(found), tuple(dict.fromkeys(pairings)))


def _with_numbers(config: GateConfig, found: Sequence[Resolved]) -> GateConfig:
    if not found:
        return config
    numbers = {entry.camera: entry.quality for entry in found}
    data = config.model_dump(exclude_unset=True)
    for camera in data["cameras"]:
        if camera["name"] in numbers:
            camera["decide"] = {**camera.get("decide", {}), "min_quality": numbers[camera["name"]]}
    return build_config(data, where="config")


def _drift_pairing(camera: CameraConfig, rules: DecideConfig, quality: QualityConfig) -> list[Pairing]:
    if rules.baseline is None:
        return []
    known = Baselines.load(rules.baseline).of(camera.name)
    where = f"camera {camera.name!r}: baseline {rules.baseline}"
    return [_same_method(Pairing(where, known.method, known.model), quality)]


def _same_method(pairing: Pairing, quality: QualityConfig) -> Pairing:
    if pairing.method != quality.method:
        raise ConfigError(
            f"{pairing.where} was made with {pairing.method}, and quality.method is {quality.method}. "
            "Make it again with this method."
        )
    return pairing


def _at_rate(
    camera: CameraConfig, rules: DecideConfig, wish: AcceptRate, quality: QualityConfig
) -> tuple[Resolved, Pairing]:
    file = wish.baseline or rules.baseline
    if file is None:
        raise ConfigError(
            "min_quality: accept_rate needs a baseline of this camera: make one with gate tune, and name it in baseline"
        )
    known = Baselines.load(file).of(camera.name)
    pairing = _same_method(
        Pairing(f"camera {camera.name!r}: min_quality from baseline {file}", known.method, known.model), quality
    )
    bar = known.bar_at(wish.accept_rate)
    if bar is None:
        raise ConfigError(
            f"min_quality: no bar accepts {wish.accept_rate:g} of visits: in baseline {file}, "
            f"{known.reachable_rate:.3g} of {known.visits} have a face that passes the other bars. "
            "Ask for less, or open the other bars and run gate tune again."
        )
    why = f"accepts {wish.accept_rate:g} of visits, by {known.visits} visits of {known.date} in {file}"
    return Resolved(camera.name, bar, why), pairing


def _at_outcome(camera: CameraConfig, wish: FnmrAt, quality: QualityConfig) -> tuple[Resolved, Pairing]:
    file, asked = wish.evaluation, wish.fnmr_at
    entry = _evaluated(file, quality)
    pairing = Pairing(f"camera {camera.name!r}: min_quality from {file}", str(entry["method"]), str(entry["model"]))
    map_ = _map_of(entry, quality, file)
    curve = _kept_curve(entry, asked.fmr, file)
    bar = lowest_bar(map_, curve, asked.target)
    if bar is None:
        raise ConfigError(
            f"min_quality: no bar in {file} brings the FNMR at an FMR of {asked.fmr:g} down to {asked.target:g} with "
            f"{LEAST_ERRORS_EXPECTED / asked.target:.0f} genuine pairs left to show it; the lowest so shown is "
            f"{_lowest(curve, asked.target)}. Allow more errors, or evaluate on more pairs."
        )
    why = f"FNMR at most {asked.target:g} at an FMR of {asked.fmr:g}, by {file}"
    return Resolved(camera.name, bar, why), pairing


def lowest_bar(map_: Calibration, curve: Mapping[str, Any], target: float) -> float | None:
    """The lowest quality from which on a recognizer's kept pairs have few enough errors.

    Args:
        map_: From scores to quality.
        curve: `scores` ascending, and for each the `fnmr` and the number of genuine `pairs` of images that score at
            least so.
        target: Highest FNMR.

    Returns:
        0..100, rounded down to hundredths; None where no bar with enough pairs left reaches the target.
    """
    quality = map_.quality_of(np.array(curve["scores"], dtype=np.float32))
    # Scores that the map makes equal pass together: the lowest of them says what is kept.
    _, first = np.unique(quality, return_index=True)
    for place in sorted(first.tolist()):
        enough = curve["pairs"][place] * target >= LEAST_ERRORS_EXPECTED
        if enough and curve["fnmr"][place] <= target:
            return rounded_down(float(quality[place]))
    return None


def _lowest(curve: Mapping[str, Any], target: float) -> str:
    shown = [
        fnmr
        for fnmr, pairs in zip(curve["fnmr"], curve["pairs"], strict=True)
        if pairs * target >= LEAST_ERRORS_EXPECTED
    ]
    return f"{min(shown):.4g}" if shown else "none, for there are too few pairs"


def _evaluated(file: Path, quality: QualityConfig) -> Mapping[str, Any]:
    """The one entry of the evaluation that is about the configured method with its options."""
    try:
        methods = json.loads(file.read_text(encoding="utf-8"))["methods"]
        entries = [entry for entry in methods if entry["method"] == quality.method and _same_options(entry, quality)]
        names = ", ".join(str(entry["name"]) for entry in methods)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        problem = getattr(error, "strerror", None) or f"no results.json of an evaluation ({type(error).__name__})"
        raise ConfigError(f"evaluation {file}: {problem}. Make one with gate evaluate.") from None
    if len(entries) != 1:
        raise ConfigError(
            f"evaluation {file}: {len(entries)} entries for {quality.method} with the options of quality.options, "
            f"where one is needed; it has {names or 'none'}. Evaluate the method as this gate uses it."
        )
    entry: Mapping[str, Any] = entries[0]
    return entry


def _same_options(entry: Mapping[str, Any], quality: QualityConfig) -> bool:
    defaults = method_info(quality.method).options
    ours = _as_text({**defaults, **quality.options})
    theirs = _as_text({**defaults, **entry["options"]})
    keys = (ours.keys() | theirs.keys()) - _NOT_IN_A_MAP
    return all(ours.get(key) == theirs.get(key) for key in keys)


def _as_text(options: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(value).lower() for name, value in options.items()}


def _map_of(entry: Mapping[str, Any], quality: QualityConfig, file: Path) -> Calibration:
    """The map to 0..100 of exactly the evaluated pairing."""
    table = CalibrationTable.shipped() if quality.calibration is None else CalibrationTable.load(quality.calibration)
    given = _as_text({**method_info(quality.method).options, **quality.options})
    unknown = set(entry["options"]) - _NOT_IN_A_MAP
    for map_ in table.maps:
        options = _as_text(dict(map_.key.options))
        same = (map_.key.method, map_.key.model) == (entry["method"], entry["model"])
        if same and unknown <= set(options) and all(given.get(name, value) == value for name, value in options.items()):
            return map_
    raise ConfigError(
        f"evaluation {file}: no map to 0..100 for {_words(entry['method'], entry['model'])} with its options in "
        f"{table.where}. Make one with gate calibrate, or evaluate a pairing that has one."
    )


def _kept_curve(entry: Mapping[str, Any], fmr: float, file: Path) -> Mapping[str, Any]:
    curves: Sequence[Mapping[str, Any]] = entry.get("kept", [])
    for curve in curves:
        if np.isclose(curve["fmr_target"], fmr, rtol=1e-6):
            return curve
    if not curves:
        raise ConfigError(
            f"evaluation {file}: nothing about the errors among kept faces; it had no recognizer or is of an older "
            "gate. Run gate evaluate again."
        )
    known = ", ".join(f"{curve['fmr_target']:g}" for curve in curves)
    raise ConfigError(f"evaluation {file}: nothing at an FMR of {fmr:g}; it has {known}. Evaluate with --fmr {fmr:g}.")


def _words(method: str, model: str) -> str:
    return f"{method} with {model}" if model else method
