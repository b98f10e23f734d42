"""Where accepted faces go, and where they wait until they are there."""

from pathlib import Path

from pydantic import Field, SecretStr, model_validator

from gate.config_section import Section


class RedisConfig(Section):
    """Where accepted faces go."""

    url: SecretStr = SecretStr("redis://127.0.0.1:6379/0")
    """`redis://`, `rediss://`, `unix://`, `redis+sentinel://host:port,host:port/master`, `redis+cluster://host:port,…`
    (both with `rediss` for TLS) or `embedded:` (a private server, nothing kept). Never logged as it is."""

    password_file: Path | None = None
    """File that holds the password, when it is not part of the URL; its trailing newline is ignored. A bare name is
    looked for among systemd's credentials and in /run/secrets."""

    sentinel_password_file: Path | None = None
    """File that holds the password of the Sentinels themselves, where they ask for one; found as
    `redis.password_file`."""

    ca_file: Path | None = None
    """TLS: certificates of the authorities that the server's must come from; null takes those of the system."""

    cert_file: Path | None = None
    """TLS: the gate's own certificate, where the server asks for one."""

    key_file: Path | None = None
    """TLS: the key of `cert_file`, unless that file holds both."""

    stream: str = Field(default="facegate:faces", min_length=1)
    """Key of the stream; `{camera}` in it makes one stream per camera."""

    max_events: int | None = Field(default=100_000, ge=1)
    """Approximate most entries kept (MAXLEN ~); null keeps all."""

    max_age_s: float | None = Field(default=None, gt=0)
    """Approximate longest time an entry is kept (MINID ~); null keeps all."""

    max_bytes: int | None = Field(default=None, ge=1_000_000)
    """Approximate most bytes of the server's memory per stream, by the mean size of what is sent; null keeps all."""

    queue_events: int = Field(default=10_000, ge=1)
    """Most events that wait in memory while neither Redis nor the spool takes them; beyond it the oldest is dropped
    and counted."""

    queue_bytes: int = Field(default=256_000_000, ge=16_000_000)
    """Most bytes that wait so; a crop takes some 10 kB, with `context_margin` a face may take megabytes."""

    timeout_s: float = Field(default=5.0, gt=0, le=60)
    """Time-out for looking up the name of the server, for connecting and for each reply."""

    jpeg_quality: int = Field(default=95, ge=50, le=100)
    """JPEG quality of the published crop."""

    context_margin: float | None = Field(default=None, ge=0, le=3)
    """Also publish the face with this margin (share of the box side) from the full frame; null publishes none."""

    @property
    def address(self) -> str:
        """The URL as configured. It may hold a password: for connecting only."""
        return self.url.get_secret_value()

    @model_validator(mode="after")
    def _tls_is_used(self) -> "RedisConfig":
        given = [name for name in ("ca_file", "cert_file", "key_file") if getattr(self, name) is not None]
        if given and not self.address.lower().startswith("rediss"):
            raise ValueError(f"{', '.join(given)}: for TLS alone; write the address with rediss://, or remove them")
        if self.key_file is not None and self.cert_file is None:
            raise ValueError("key_file is the key of cert_file, which is missing")
        return self


class SpoolConfig(Section):
    """Accepted faces on the disk until Redis has them, so that no crash, restart or day without Redis loses one."""

    enabled: bool = True
    """False lets them wait in memory alone. With `redis.url: embedded:` there is no spool."""

    dir: Path | None = None
    """Folder of this gate alone; default: `spool` in `$STATE_DIRECTORY` (which systemd sets), else `facegate/spool` in
    the user's state folder (`$XDG_STATE_HOME`, `~/.local/state`)."""

    max_mb: int = Field(default=1024, ge=16, le=1_000_000)
    """Most megabytes (10^6 bytes) of events; beyond it faces that a later one may replace go first, then the oldest."""

    max_age_h: float | None = Field(default=168.0, gt=0, le=87_600)
    """Longest that an event waits before it is dropped, in hours; null keeps it for ever."""

    key_file: Path | None = None
    """Encrypt with the key in this file: 32 bytes as base64 or hex, found as `redis.password_file`. Needs
    `facegate[encryption]`."""
