"""From the sections `redis` and `spool` of the configuration to where accepted faces wait and where they go."""

import math
import os
import secrets
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from gate.clock import Clock
from gate.config import GateConfig, RedisConfig, SpoolConfig
from gate.errors import ConfigError, SpoolError
from gate.publish.backlog import Backlog, BacklogObserver, MemoryBacklog
from gate.publish.connect import Tls, open_client
from gate.publish.embedded import EmbeddedRedis
from gate.publish.redis_sink import RedisSink
from gate.publish.sealing import AesGcmSeal, read_key
from gate.publish.spool import SpooledBacklog, SpoolLimits
from gate.publish.spool_file import SpoolCause, SpoolFile
from gate.secret_files import read_secret, secret_path

log = structlog.get_logger(__name__)

EMBEDDED_MAX_EVENTS = 5_000
"""Most entries an embedded Redis keeps unless told: at some 10 kB a face, 50 MB of this machine's memory."""


def redis_address(config: GateConfig, resources: ExitStack) -> str:
    """The Redis URL; `embedded:` starts a server that lives as long as `resources`."""
    address = config.redis.address
    if address != "embedded:":
        return address
    server = resources.enter_context(EmbeddedRedis(tcp_port=0))
    log.info("embedded_redis", address=server.tcp_url)
    return server.tcp_url or server.url


def build_sink(config: GateConfig, address: str, clock: Clock, backlog: Backlog | None = None) -> RedisSink:
    """The Redis stream at `address`, continued from where `backlog` left it.

    Raises:
        GateError: the address, or a file of a password or of TLS, cannot be used.
    """
    section = config.redis
    embedded = section.address == "embedded:"
    # The default is meant for a server; whoever writes a number, or null, means it.
    by_default = "max_events" not in section.model_fields_set
    return RedisSink(
        address,
        clock=clock,
        # An embedded server has no password, and refuses clients that come with one.
        password=None if embedded else read_redis_password(section),
        stream=section.stream,
        max_events=EMBEDDED_MAX_EVENTS if embedded and by_default else section.max_events,
        max_age_s=section.max_age_s,
        max_bytes=section.max_bytes,
        connect=partial(
            open_client,
            tls=Tls(section.ca_file, section.cert_file, section.key_file),
            sentinel_password=_read_secret("redis.sentinel_password_file", section.sentinel_password_file),
        ),
        **_continued(backlog),
        timeout_s=section.timeout_s,
    )


def _continued(backlog: Backlog | None) -> dict[str, Any]:
    """What a sink needs to know of the one before it, so that nothing it had sent is sent twice."""
    if not isinstance(backlog, SpooledBacklog):
        return {}
    return {"positions": backlog.positions, "producer": backlog.producer(secrets.token_hex(8))}


def read_redis_password(section: RedisConfig) -> str | None:
    """The password of `redis.password_file`, None without one. Raises `ConfigError` when it cannot be read."""
    return _read_secret("redis.password_file", section.password_file)


def _read_secret(key: str, path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        return read_secret(path)
    except (OSError, UnicodeDecodeError) as error:
        problem = getattr(error, "strerror", None) or "not UTF-8 text"
        raise ConfigError(f"{key} {path}: {problem}.") from None


def build_backlog(config: GateConfig, clock: Clock, observer: BacklogObserver) -> Backlog:
    """Where accepted events wait for Redis.

    Raises:
        ConfigError: the spool's key cannot be used, it was written with another, or another gate uses the folder.
    """
    memory_events, memory_bytes = config.redis.queue_events, config.redis.queue_bytes
    if not config.spools:
        return MemoryBacklog(memory_events, memory_bytes)
    folder, age_h = spool_folder(config.spool), config.spool.max_age_h
    limits = SpoolLimits(
        max_bytes=config.spool.max_mb * 1_000_000,
        max_age_s=math.inf if age_h is None else age_h * 3600,
        memory_events=memory_events,
        memory_bytes=memory_bytes,
    )
    backlog = SpooledBacklog(folder, limits=limits, clock=clock, observer=observer, seal=_seal(config.spool))
    log.info("spool", folder=str(folder), events=len(backlog), encrypted=config.spool.key_file is not None)
    return backlog


def check_spool(config: GateConfig) -> str:
    """What lies in the spool, in one line. Raises `GateError` where it cannot be used."""
    if not config.spools:
        return "none; accepted faces wait for Redis in memory alone"
    folder = spool_folder(config.spool)
    try:
        file = SpoolFile(folder, seal=_seal(config.spool), max_bytes=config.spool.max_mb * 1_000_000)
    except SpoolError as error:
        if error.cause == SpoolCause.IN_USE.value:
            return f"{folder}, in use by a running gate"
        raise
    file.close()
    return f"{folder}, {file.rows} event(s) wait there"


def spool_folder(section: SpoolConfig) -> Path:
    """Where the spool lies."""
    if section.dir is not None:
        return section.dir
    given = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
    if given:
        return Path(given) / "spool"
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "facegate" / "spool"


def _seal(section: SpoolConfig) -> AesGcmSeal | None:
    return None if section.key_file is None else AesGcmSeal(read_key(secret_path(section.key_file)))
