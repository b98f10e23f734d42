"""The section of a camera: where it is, how one logs in, how it is read."""

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, field_validator, model_validator

from gate.config_rules import DecideOverrides
from gate.config_section import Section
from gate.config_zones import ZonesConfig

CameraName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]

CameraKind = Literal["network", "file", "webcam", "virtual"]

Decode = Literal["auto", "cpu", "cuda"]

Scheme = Literal["rtsp", "rtsps", "http", "https"]

_NETWORK_ONLY = ("username", "password", "password_file", "transport", "open_timeout_s", "read_timeout_s")
_PARTS = ("scheme", "port", "path")


def kind_of(address: str) -> CameraKind:
    """What an address means by its form alone; what has no known form is taken for a path.

    >>> [kind_of(address) for address in ("rtsp://door.lan/", "file:///clip.mp4", "webcam:0", "virtual:?seed=1")]
    ['network', 'file', 'webcam', 'virtual']
    """
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", address)
    if scheme is not None:
        return "file" if scheme[1].lower() == "file" else "network"
    if address.lower().startswith("webcam:"):
        return "webcam"
    return "virtual" if address.lower().startswith("virtual:") else "file"


class CameraConfig(Section):
    """One camera, file or virtual camera."""

    name: CameraName
    """Name in events, metrics and logs: letters, digits, `_`, `.`, `-`."""

    url: SecretStr | None = None
    """`rtsp://`, `rtsps://`, `http://`, `https://`, a file path, `webcam:0` or `virtual:`. Never logged as it is. This
    or `host` is required."""

    host: str | None = None
    """Name or IP address of a network camera, in place of `url`."""

    scheme: Scheme = "rtsp"
    """With `host`: what the camera speaks."""

    port: int | None = Field(default=None, ge=1, le=65535)
    """With `host`: the port, where it is not the usual one of `scheme`."""

    path: SecretStr = SecretStr("")
    """With `host`: what follows it in the address, query included. Never logged: cameras put tokens there."""

    username: str | None = None
    """User of the camera, when it is not part of the URL."""

    password: SecretStr | None = None
    """Password of the camera as it is, nothing escaped. A file keeps it out of the configuration."""

    password_file: Path | None = None
    """File that holds the camera's password; its trailing newline is ignored. A bare name is looked for among systemd's
    credentials and in /run/secrets."""

    transport: Literal["tcp", "udp"] = "tcp"
    """RTSP transport. TCP survives Wi-Fi and NAT; UDP saves a little delay on a clean wire."""

    decode: Decode = "cpu"
    """Where pictures are decoded. `cuda` and `auto` take the graphics card; where it cannot be had, the CPU decodes and
    the log says why."""

    listen: bool = False
    """`rtsp://` only: wait at this address for a camera that pushes, instead of dialling it."""

    open_timeout_s: float = Field(default=10.0, gt=0, le=120)
    """How long opening the camera may take: for its name, for connecting, and for learning what it sends, each."""

    read_timeout_s: float = Field(default=10.0, gt=0, le=120)
    """How long the camera may send no picture before it counts as lost."""

    max_fps: float | None = Field(default=None, gt=0, le=240)
    """Analyse at most this many frames a second; the frames between are decoded and counted as dropped."""

    loop: bool = False
    """Files only: start again at the end."""

    pace: Literal["realtime", "fast"] = "realtime"
    """Files and `virtual:` only: play at their own speed and drop what is late, or wait for the gate and drop none."""

    zones: ZonesConfig = ZonesConfig()
    """Where in the picture faces count."""

    decide: DecideOverrides = DecideOverrides()
    """Any keys of `decide` in which this camera differs; those left out are as in `decide`."""

    @property
    def address(self) -> str:
        """The URL as configured or put together. It may hold a password: for opening the camera only."""
        if self.url is not None:
            return self.url.get_secret_value()
        host = f"[{self.host}]" if ":" in (self.host or "") else self.host
        path = self.path.get_secret_value()
        slash = "/" if path and not path.startswith(("/", "?")) else ""
        return f"{self.scheme}://{host}{'' if self.port is None else f':{self.port}'}{slash}{path}"

    @property
    def kind(self) -> CameraKind:
        """What the address means."""
        return kind_of(self.address)

    @field_validator("host")
    @classmethod
    def _is_a_host(cls, host: str | None) -> str | None:
        if host is None or re.fullmatch(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,252})", host):
            return host
        try:
            ipaddress.IPv6Address(host)
        except ValueError:
            raise ValueError(
                "a host is a name or an IP address alone; port, path, username and password have keys of their own"
            ) from None
        return host

    @model_validator(mode="after")
    def _one_address(self) -> "CameraConfig":
        if (self.url is None) == (self.host is None):
            raise ValueError("a camera has either a url or a host; give one of them")
        if self.url is not None and (stray := self._differing(_PARTS)):
            raise ValueError(f"{stray} goes with host; with a url it is part of that. Remove it")
        if self.password is not None and self.password_file is not None:
            raise ValueError("password and password_file say the same; remove one")
        return self

    @model_validator(mode="after")
    def _nothing_is_ignored(self) -> "CameraConfig":
        if self.listen and not self.address.lower().startswith("rtsp://"):
            raise ValueError("listen is for rtsp:// alone; remove it, or give the rtsp:// address to listen at")
        if self.listen and (stray := self._differing(("username", "password", "password_file"))):
            raise ValueError(f"{stray} has no use with listen: who pushes is not asked for it; remove it")
        if self.loop and self.kind != "file":
            raise ValueError(f"loop is for files alone, and this is a {self.kind} camera; remove it")
        if self.pace == "fast" and self.kind not in {"file", "virtual"}:
            raise ValueError(
                f"pace: fast is for files and virtual:, and a {self.kind} camera comes in its own time; remove it"
            )
        if self.kind != "network" and (stray := self._differing(_NETWORK_ONLY)):
            raise ValueError(f"{stray} is for network cameras alone, and this is a {self.kind} camera; remove it")
        if self.transport == "udp" and not self.address.lower().startswith("rtsp://"):
            raise ValueError("transport: udp is for rtsp:// alone; remove it")
        if self.decode != "cpu" and self.kind not in {"network", "file"}:
            raise ValueError(f"decode is for network cameras and files, and this is a {self.kind} camera; remove it")
        return self

    def _differing(self, keys: tuple[str, ...]) -> str:
        """The first of these keys that is not as by default; empty when all are."""
        return next((key for key in keys if getattr(self, key) != type(self).model_fields[key].default), "")
