import io
import json
import logging
import subprocess
import sys
import warnings
from datetime import datetime, timedelta
from typing import Any

import pytest
import structlog

from gate.errors import CaptureError
from gate.observe.logging import configure, get_logger


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


def entries(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_json_lines_carry_time_level_logger_event_and_values(stream: io.StringIO) -> None:
    configure("info", "json", stream)
    get_logger("capture").info("camera_up", camera="door", attempt=3)
    (entry,) = entries(stream)
    stamp = entry.pop("timestamp")
    assert stamp.endswith("Z")
    assert datetime.fromisoformat(stamp.replace("Z", "+00:00")).utcoffset() == timedelta(0)
    assert entry == {"level": "info", "logger": "gate.capture", "event": "camera_up", "camera": "door", "attempt": 3}


def test_loggers_made_by_structlog_itself_go_the_same_way(stream: io.StringIO) -> None:
    log = structlog.get_logger("gate.pipeline")
    configure("info", "json", stream)
    log.warning("frame_failed", camera="door")
    assert entries(stream)[0]["logger"] == "gate.pipeline"


def test_levels_filter_ours_and_libraries_are_heard_from_warning_on(stream: io.StringIO) -> None:
    configure("info", "json", stream)
    get_logger().debug("too_fine")
    get_logger().info("fine")
    logging.getLogger("libav.rtsp").info("chatter")
    logging.getLogger("libav.rtsp").warning("late %d ms", 40)
    configure("error", "json", stream)
    get_logger().warning("silenced")
    assert [entry["event"] for entry in entries(stream)] == ["fine", "late 40 ms"]


def test_configuring_twice_writes_once_and_to_the_newer_stream(stream: io.StringIO) -> None:
    old = io.StringIO()
    configure("info", "json", old)
    configure("info", "json", stream)
    get_logger().info("once")
    assert (len(entries(old)), len(entries(stream))) == (0, 1)


def test_warnings_of_libraries_are_log_lines(stream: io.StringIO) -> None:
    configure("info", "json", stream)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(False)
        logging.captureWarnings(True)
        warnings.warn("old call to rtsp://u:s3cret@door/", UserWarning, stacklevel=1)
    (entry,) = entries(stream)
    assert entry["logger"] == "py.warnings"
    assert "UserWarning: old call to rtsp://" in entry["event"]
    assert "s3cret" not in stream.getvalue()


def test_an_error_of_ours_is_one_field_without_a_traceback(stream: io.StringIO) -> None:
    configure("info", "json", stream)
    get_logger().error("camera_failed", exc_info=CaptureError("door: access was denied", cause="auth"))
    (entry,) = entries(stream)
    assert entry["error"] == "CaptureError: door: access was denied"
    assert not {"exception", "where", "exc_info"} & set(entry)


def test_any_other_error_says_where_and_at_debug_how(stream: io.StringIO) -> None:
    for level in ("info", "debug"):
        configure(level, "json", stream)
        try:
            int("rtsp://u:s3cret@door/")
        except ValueError:
            get_logger().exception("boom")
    at_info, at_debug = entries(stream)
    assert at_info["error"] == "ValueError: invalid literal for int() with base 10: 'rtsp://door'"
    assert "test_log.py:" in at_info["where"]
    assert "exception" not in at_info
    assert at_debug["exception"].startswith("Traceback")
    assert "s3cret" not in stream.getvalue()


def test_errors_of_libraries_and_errors_as_values_are_scrubbed(stream: io.StringIO) -> None:
    configure("debug", "json", stream)
    error = OSError("rtsp://u:s3cret@door/?token=s3cret")
    logging.getLogger("libav").error("cannot open %s", "rtsp://u:s3cret@door/", exc_info=error)
    get_logger().warning("lost", problem=error, extra={"deep": [error]})
    assert "s3cret" not in stream.getvalue()
    assert entries(stream)[1]["problem"] == "OSError: rtsp://door"


@pytest.mark.parametrize("kind", ["json", "console"])
def test_a_message_from_the_network_cannot_forge_a_line(stream: io.StringIO, kind: Any) -> None:
    configure("info", kind, stream)
    get_logger().info("answer", said="200 OK\n2026-01-01 [info] all is well\x1b[2J")
    logging.getLogger("libav").error("RTSP/1.0 \r\n forged \u2028 line")
    assert len(stream.getvalue().splitlines()) == 2
    assert "\x1b" not in stream.getvalue()


def test_auto_is_console_in_colour_on_a_terminal_and_json_elsewhere(stream: io.StringIO) -> None:
    terminal = Terminal()
    configure("info", "auto", terminal)
    get_logger().info("camera_up", camera="door")
    assert "\x1b[" in terminal.getvalue()
    configure("info", "console", stream)
    get_logger().info("camera_up", camera="door")
    assert "\x1b[" not in stream.getvalue()
    assert "camera=door" in stream.getvalue()
    plain = io.StringIO()
    configure("info", "auto", plain)
    get_logger().info("camera_up", camera="door")
    assert entries(plain)[0]["camera"] == "door"


def test_standard_output_stays_free_of_log_lines() -> None:
    story = (
        "from gate.observe.logging import configure, get_logger\n"
        "get_logger('a').warning('before', url='rtsp://u:s3cret@h/')\n"
        "configure('info', 'json')\n"
        "get_logger('a').info('after', password='s3cret')\n"
    )
    run = subprocess.run([sys.executable, "-c", story], capture_output=True, check=True, timeout=60)
    assert run.stdout == b""
    assert b"before" in run.stderr
    assert b"after" in run.stderr
    assert b"s3cret" not in run.stderr
