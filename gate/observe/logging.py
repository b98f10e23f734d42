"""The log: structured, on standard error, without secrets.

Our entries go through the standard library's loggers, and what libraries log or warn goes the same way and is
scrubbed alike. Loggers of `get_logger` do so before `configure` too; a bare `structlog.get_logger` does from then on
and prints to standard output until then.
"""

import logging
import sys
import traceback
from types import TracebackType
from typing import Any, Literal, TextIO, cast

import structlog
from structlog.stdlib import BoundLogger, ProcessorFormatter
from structlog.typing import EventDict, Processor, WrappedLogger

from gate.errors import GateError
from gate.observe.redaction import scrub

Level = Literal["debug", "info", "warning", "error"]
Format = Literal["auto", "console", "json"]

_ROOT = "gate"
_KEPT_LINES = "exception"
"""The key that structlog's console renderer prints with its line breaks."""


def get_logger(name: str = _ROOT) -> BoundLogger:
    """A logger for `name`, such as `gate.capture`; call it as `log.info("camera_up", camera="door")`."""
    full = name if name == _ROOT or name.startswith(f"{_ROOT}.") else f"{_ROOT}.{name}"
    wrapped = structlog.wrap_logger(logging.getLogger(full), processors=_chain(), wrapper_class=BoundLogger)
    return cast("BoundLogger", wrapped)


def configure(level: Level = "info", format: Format = "auto", stream: TextIO | None = None) -> None:  # noqa: A002 - named as the key `log.format`
    """Send the log of this process to `stream` (standard error); calling it again replaces the former set-up.

    Args:
        level: least severe level of ours; libraries are heard from `warning` on.
        format: `console` for people (coloured on a terminal), `json` for machines (one object a line, ISO 8601 UTC
            time stamps), `auto` for console on a terminal and JSON elsewhere.
        stream: where to write.
    """
    target = sys.stderr if stream is None else stream
    terminal = target.isatty()
    as_json = format == "json" or (format == "auto" and not terminal)
    handler = _Handler(target)
    handler.setFormatter(
        ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.ExtraAdder(), *_common()],
            processors=[ProcessorFormatter.remove_processors_meta, _renderer(as_json=as_json, colors=terminal)],
        )
    )
    root = logging.getLogger()
    for former in [found for found in root.handlers if isinstance(found, _Handler)]:
        root.removeHandler(former)
    root.addHandler(handler)
    set_level(level)
    logging.captureWarnings(True)
    structlog.configure(processors=_chain(), wrapper_class=BoundLogger, logger_factory=structlog.stdlib.LoggerFactory())


def set_level(level: Level) -> None:
    """Change the least severe level that is written; libraries are heard from `warning` on."""
    severity = logging.getLevelName(level.upper())
    logging.getLogger().setLevel(max(severity, logging.WARNING))
    logging.getLogger(_ROOT).setLevel(severity)


class _Handler(logging.StreamHandler[TextIO]):
    """Ours, told apart from handlers that others have put on the root logger."""


def _chain() -> list[Processor]:
    return [structlog.stdlib.filter_by_level, *_common(), ProcessorFormatter.wrap_for_formatter]


def _common() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _name_errors,
        _scrub_entry,
    ]


def _renderer(*, as_json: bool, colors: bool) -> Processor:
    if as_json:
        return structlog.processors.JSONRenderer()
    return structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=structlog.dev.plain_traceback)


def _name_errors(_logger: WrappedLogger, _method: str, entry: EventDict) -> EventDict:
    """Turn an exception into `error: "Type: message"`.

    Errors of our own family speak for themselves. Of any other the place is added: it is a fault of the program.
    """
    info = entry.pop("exc_info", None)
    error = _exception(info)
    if error is not None:
        entry["error"] = error
        if not isinstance(error, GateError) and (place := _place(error.__traceback__)):
            entry["where"] = place
        if logging.getLogger(_ROOT).isEnabledFor(logging.DEBUG):
            entry[_KEPT_LINES] = "".join(traceback.format_exception(error))
    for key, value in entry.items():
        if isinstance(value, BaseException):
            entry[key] = f"{type(value).__name__}: {value}"
    return entry


def _exception(info: Any) -> BaseException | None:
    if isinstance(info, BaseException):
        return info
    if isinstance(info, tuple):
        return cast("BaseException | None", info[1])
    return sys.exc_info()[1] if info else None


def _place(trace: TracebackType | None) -> str:
    """File, line and function that raised, without the folders above the package."""
    frames = traceback.extract_tb(trace)
    if not frames:
        return ""
    last = frames[-1]
    return f"{'/'.join(last.filename.rsplit('/', 3)[-3:])}:{last.lineno} in {last.name}"


def _scrub_entry(_logger: WrappedLogger, _method: str, entry: EventDict) -> EventDict:
    """Scrub every value; structlog's own `_record` and `_from_structlog` pass through for its formatter."""
    meta = {key: entry.pop(key) for key in ("_record", "_from_structlog") if key in entry}
    lines = entry.pop(_KEPT_LINES, None)
    clean: dict[str, Any] = scrub(entry)
    if isinstance(lines, str):
        # A traceback is the one text whose line breaks are kept.
        clean[_KEPT_LINES] = "\n".join(str(scrub(line)) for line in lines.splitlines())
    return {**clean, **meta}
