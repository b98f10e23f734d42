"""The first look: is every camera there, does every door get its faces?"""

from dashboards.generator.panel import (
    AMBER,
    BLUE,
    CAMERA,
    GREEN,
    INSTANCE,
    RED,
    Board,
    Panel,
    Query,
    Row,
    Step,
    quantile,
    rate,
    share,
)

_UP = ((0, "down", RED), (1, "up", GREEN))

FLEET = Board(
    uid="facegate-fleet",
    title="Gate · fleet",
    description="Every gate and every camera at a glance.",
    rows=(
        Row(
            "Now",
            (
                Panel(
                    "Cameras up",
                    "Cameras that deliver frames now.",
                    (Query(f"sum(facegate_camera_up{{{CAMERA}}})"),),
                    kind="stat",
                    steps=(Step(GREEN),),
                    width=4,
                    height=4,
                ),
                Panel(
                    "Cameras down",
                    "Cameras that are configured and deliver nothing. A file that came to its end counts too.",
                    (Query(f"count(facegate_camera_up{{{CAMERA}}} == 0) or vector(0)"),),
                    kind="stat",
                    steps=(Step(GREEN), Step(RED, 1)),
                    width=4,
                    height=4,
                ),
                Panel(
                    "Visits with a face",
                    "Share of visits, over the time shown, of which a face was published. The rest stood there "
                    "and no usable face was seen: the door did not open for them.",
                    (Query(share("facegate_visits_total", 'result="published"', over="range")),),
                    kind="stat",
                    unit="percentunit",
                    steps=(Step(RED), Step(AMBER, 0.5), Step(GREEN, 0.8)),
                    width=4,
                    height=4,
                    most=1,
                ),
                Panel(
                    "Time to the stream, p95",
                    "From the decode of a visit's first face to its entry in Redis.",
                    (Query(quantile(0.95, "facegate_capture_to_publish_seconds", CAMERA)),),
                    kind="stat",
                    unit="s",
                    steps=(Step(GREEN), Step(AMBER, 0.5), Step(RED, 2)),
                    width=4,
                    height=4,
                ),
                Panel(
                    "Events waiting",
                    "Accepted faces that Redis has not acknowledged yet. More than a few for more than a minute: "
                    "Redis is slow or away.",
                    (Query(f"sum(facegate_spool_events{{{INSTANCE}}})"),),
                    kind="stat",
                    steps=(Step(GREEN), Step(AMBER, 100), Step(RED, 1000)),
                    width=4,
                    height=4,
                ),
                Panel(
                    "Events lost",
                    "Accepted faces, over the time shown, that were dropped before Redis had them. Must be 0.",
                    (Query(f"sum(increase(facegate_spool_dropped_total{{{INSTANCE}}}[$__range]))"),),
                    kind="stat",
                    steps=(Step(GREEN), Step(RED, 1)),
                    width=4,
                    height=4,
                ),
            ),
        ),
        Row(
            "Cameras",
            (
                Panel(
                    "Up and down",
                    "When each camera delivered frames. A gap in many rows at once is the network or a switch, in one "
                    "row the camera.",
                    (Query(f"max by (camera) (facegate_camera_up{{{CAMERA}}})", "{{camera}}"),),
                    kind="states",
                    names=_UP,
                    steps=(Step(RED), Step(GREEN, 1)),
                    width=12,
                ),
                Panel(
                    "Age of the last frame",
                    "Seconds since each camera's last decoded frame. It grows in a straight line while a camera hangs.",
                    (
                        Query(
                            f"time() - max by (camera) (facegate_last_frame_timestamp_seconds{{{CAMERA}}} > 0)",
                            "{{camera}}",
                        ),
                    ),
                    unit="s",
                    steps=(Step(GREEN), Step(RED, 30)),
                    width=12,
                ),
                Panel(
                    "Faces published",
                    "Published faces a second, by camera.",
                    (Query(rate("facegate_published_total", f'{CAMERA},type="face"', by="camera"), "{{camera}}"),),
                    kind="stacked",
                    unit="cps",
                ),
                Panel(
                    "Visits with a face, by camera",
                    "Share of each camera's visits of which a face was published, over the time shown; worst last. "
                    "A door far below its neighbours is dirty, dark or badly aimed.",
                    (
                        Query(
                            share("facegate_visits_total", 'result="published"', by="camera", over="range"),
                            "{{camera}}",
                        ),
                    ),
                    kind="bars",
                    unit="percentunit",
                    steps=(Step(RED), Step(AMBER, 0.5), Step(GREEN, 0.8)),
                    most=1,
                ),
                Panel(
                    "Why cameras were lost",
                    "Failed or lost connections in the time shown, by cause.",
                    (
                        Query(
                            f"sum by (cause) (increase(facegate_reconnects_total{{{CAMERA}}}[$__range]))", "{{cause}}"
                        ),
                    ),
                    kind="bars",
                    steps=(Step(BLUE), Step(RED, 1)),
                ),
            ),
        ),
        Row(
            "Gates",
            (
                Panel(
                    "Versions",
                    "What runs where, and since when.",
                    (
                        Query(
                            f"facegate_build_info{{{INSTANCE}}}",
                            "{{instance}}: {{version}}",
                        ),
                    ),
                    kind="states",
                    names=((1, "running", GREEN),),
                    steps=(Step(GREEN),),
                    width=12,
                    height=6,
                ),
                Panel(
                    "Configuration",
                    "Whether the last reading of each configuration file succeeded; a file that cannot be used leaves "
                    "the old one in force, and the log says why.",
                    (Query(f"facegate_config_reload_success{{{INSTANCE}}}", "{{instance}}"),),
                    kind="states",
                    names=((0, "kept the old one", RED), (1, "in force", GREEN)),
                    steps=(Step(RED), Step(GREEN, 1)),
                    width=6,
                    height=6,
                ),
                Panel(
                    "Since the last reload",
                    "Age of the configuration in force.",
                    (Query(f"time() - facegate_config_last_reload_timestamp_seconds{{{INSTANCE}}}", "{{instance}}"),),
                    kind="stat",
                    unit="s",
                    width=6,
                    height=6,
                ),
            ),
        ),
    ),
)
