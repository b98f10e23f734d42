"""What lies between two configurations, and what of it a running gate can take."""

from dataclasses import dataclass, fields

from gate.config import CameraConfig, GateConfig
from gate.config_section import Section

IN_PLACE = frozenset({"decide", "zones"})
"""Keys of a camera that change while it runs; any other key asks for a new connection."""

REASONS = {
    "detector": "its network is loaded at the start",
    "tracker": "tracks that are open were begun with it",
    "backend": "the networks are loaded at the start",
    "quality": "the methods are loaded, tested and timed at the start",
    "redis": "what waits for delivery was accepted for that stream",
    "spool": "what waits for delivery lies there",
    "http": "the server listens already",
    "page": "the server has its routes already",
    "tracing": "what sends spans is built at the start",
    "log.format": "the log would change its form in the middle",
    "weights": "the files are loaded at the start",
}
"""Why a section, or a key of one, stays as it is while the gate runs."""


@dataclass(frozen=True, slots=True)
class ConfigChange:
    """What has to be done to come from one configuration to the other: names alone, never values."""

    added: tuple[str, ...] = ()
    """Cameras that are new."""

    removed: tuple[str, ...] = ()
    """Cameras that are gone."""

    restarted: tuple[str, ...] = ()
    """Cameras that are read in another way; their visits end."""

    adjusted: tuple[str, ...] = ()
    """Cameras that run on, with other rules or zones."""

    log_level: bool = False
    """Whether `log.level` differs."""

    fixed: tuple[str, ...] = ()
    """Keys that differ and cannot while the gate runs."""

    @property
    def names(self) -> dict[str, list[str]]:
        """What happens to whom, for the log: without what does not happen."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        lists = {name: list(value) for name, value in found.items() if isinstance(value, tuple) and value}
        return {**lists, "changed": ["log.level"]} if self.log_level else lists

    @property
    def refusal(self) -> str | None:
        """Why a running gate cannot take this change, in one line; None when it can."""
        if not self.fixed:
            return None
        sections = dict.fromkeys(key if key in REASONS else key.partition(".")[0] for key in self.fixed)
        why = "; ".join(f"{section}: {REASONS[section]}" for section in sections)
        return f"{', '.join(self.fixed)}: cannot change while the gate runs ({why}). Restart the gate to use the file."


def compare(old: GateConfig, new: GateConfig) -> ConfigChange:
    """What changes from `old` to `new`; cameras are told apart by their names, in the order of their file."""
    before = {camera.name: camera for camera in old.cameras}
    after = {camera.name: camera for camera in new.cameras}
    both = [camera for camera in new.cameras if camera.name in before]
    restarted = [camera.name for camera in both if _needs_connection(before[camera.name], camera)]
    return ConfigChange(
        added=tuple(name for name in after if name not in before),
        removed=tuple(name for name in before if name not in after),
        restarted=tuple(restarted),
        adjusted=tuple(
            camera.name
            for camera in both
            if camera.name not in restarted
            and (camera.zones != before[camera.name].zones or new.rules_of(camera) != old.rules_of(before[camera.name]))
        ),
        log_level=old.log.level != new.log.level,
        fixed=tuple(_fixed(old, new)),
    )


def _needs_connection(old: CameraConfig, new: CameraConfig) -> bool:
    return bool(set(differing(old, new)) - IN_PLACE)


def _fixed(old: GateConfig, new: GateConfig) -> list[str]:
    keys: list[str] = []
    for name in differing(old, new):
        before, after = getattr(old, name), getattr(new, name)
        if isinstance(before, Section) and isinstance(after, Section):
            keys += [f"{name}.{key}" for key in differing(before, after)]
        else:
            keys.append(name)
    return [key for key in keys if key != "log.level" and key.partition(".")[0] not in {"cameras", "decide"}]


def differing(old: Section, new: Section) -> list[str]:
    """The keys whose values differ between two sections of one kind."""
    return [key for key in type(old).model_fields if getattr(old, key) != getattr(new, key)]
