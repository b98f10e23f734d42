"""One camera in depth: what it sends, what is seen in it, and what becomes of that."""

from dashboards.generator.panel import (
    AMBER,
    CAMERA,
    GREEN,
    RED,
    Board,
    Panel,
    Query,
    Row,
    Step,
    average,
    quantile,
    rate,
)

CAMERA_IN_DEPTH = Board(
    uid="facegate-camera",
    title="Gate · one camera",
    description="Choose a camera: its frames, its faces, its visits.",
    one_camera=True,
    rows=(
        Row(
            "Frames",
            (
                Panel(
                    "Frames a second",
                    "Processed frames were analysed; dropped ones were decoded and a newer one was there first, or "
                    "`max_fps` left them out; corrupt ones could not be decoded.",
                    (Query(rate("facegate_frames_total", CAMERA, by="outcome"), "{{outcome}}"),),
                    kind="stacked",
                    unit="cps",
                ),
                Panel(
                    "Age of frames when analysed",
                    "From decode to the engine. It grows when the machine has more to do than it can.",
                    (
                        Query(quantile(0.5, "facegate_frame_age_seconds", CAMERA), "p50"),
                        Query(quantile(0.95, "facegate_frame_age_seconds", CAMERA), "p95"),
                    ),
                    unit="s",
                ),
                Panel(
                    "Connection",
                    "Failed or lost connections a second, by cause.",
                    (Query(rate("facegate_reconnects_total", CAMERA, by="cause"), "{{cause}}"),),
                    kind="stacked",
                    unit="cps",
                ),
                Panel(
                    "Changes in the stream",
                    "Changes the stream survived, over the time shown: another resolution, codec or decoder, time "
                    "stamps that jump back.",
                    (
                        Query(
                            f"sum by (change) (increase(facegate_stream_changes_total{{{CAMERA}}}[$__range]))",
                            "{{change}}",
                        ),
                    ),
                    kind="bars",
                ),
            ),
        ),
        Row(
            "Faces",
            (
                Panel(
                    "Faces",
                    "Faces a second by what became of them. `unscored`: a score could have changed nothing.",
                    (Query(rate("facegate_faces_total", CAMERA, by="verdict"), "{{verdict}}"),),
                    kind="stacked",
                    unit="cps",
                ),
                Panel(
                    "Why faces were rejected",
                    "Decisive reason of each rejected face, over the time shown. `too_small`: go nearer, or a longer "
                    "lens. `too_dark`, `too_bright`: light or exposure. `yaw`, `pitch`: where the camera hangs.",
                    (
                        Query(
                            f'sum by (reason) (increase(facegate_faces_total{{{CAMERA},reason!=""}}[$__range])) > 0',
                            "{{reason}}",
                        ),
                    ),
                    kind="bars",
                ),
                Panel(
                    "Quality of scored faces",
                    "0 to 100, darker where more faces are.",
                    (
                        Query(
                            f"sum by (le) (increase(facegate_quality_bucket{{{CAMERA}}}[$__rate_interval]))",
                            "{{le}}",
                        ),
                    ),
                    kind="heatmap",
                ),
            ),
        ),
        Row(
            "Visits",
            (
                Panel(
                    "Visits an hour",
                    "`published`: at least one face went to the stream. `unusable`: none of the person's did.",
                    (
                        Query(
                            f"3600 * sum by (result) (rate(facegate_visits_total{{{CAMERA}}}[$__rate_interval]))",
                            "{{result}}",
                        ),
                    ),
                    kind="stacked",
                ),
                Panel(
                    "Time to the stream",
                    "From the decode of the frame with a visit's first face to its entry in Redis.",
                    (
                        Query(quantile(0.5, "facegate_capture_to_publish_seconds", CAMERA), "p50"),
                        Query(quantile(0.95, "facegate_capture_to_publish_seconds", CAMERA), "p95"),
                        Query(average("facegate_capture_to_publish_seconds", CAMERA), "mean"),
                    ),
                    unit="s",
                    steps=(Step(GREEN), Step(AMBER, 0.5), Step(RED, 2)),
                ),
                Panel(
                    "Events published",
                    "Events that Redis acknowledged, by type.",
                    (Query(rate("facegate_published_total", CAMERA, by="type"), "{{type}}"),),
                    kind="stacked",
                    unit="cps",
                ),
            ),
        ),
    ),
)
