"""Quality and thresholds: does the bar fit what the cameras see, and has that changed?"""

from dashboards.generator.panel import (
    AMBER,
    CAMERA,
    GREEN,
    INSTANCE,
    RED,
    Board,
    Panel,
    Query,
    Row,
    Step,
    average,
    quantile,
    rate,
    share,
)

JUDGED = f'{CAMERA},verdict!="unscored"'
"""Faces that were accepted or rejected; of one that was left out nobody knows whether it would have been."""

QUALITY = Board(
    uid="facegate-quality",
    title="Gate · quality and thresholds",
    description="Quality over time, what the bars let through, and drift against what was tuned.",
    since="now-24h",
    rows=(
        Row(
            "Quality",
            (
                Panel(
                    "Quality over time",
                    "Calibrated quality of scored faces, darker where more faces are. A band that sinks slowly is a "
                    "lens that gets dirty or light that fails; one that jumps is a camera that was moved or a method "
                    "that changed.",
                    (
                        Query(
                            f"sum by (le) (increase(facegate_quality_bucket{{{CAMERA}}}[$__rate_interval]))",
                            "{{le}}",
                        ),
                    ),
                    kind="heatmap",
                    width=16,
                    height=9,
                ),
                Panel(
                    "Median quality, by camera",
                    "From the histogram, so no finer than its buckets.",
                    (Query(quantile(0.5, "facegate_quality", CAMERA, by="camera"), "{{camera}}"),),
                    most=100,
                    height=9,
                ),
            ),
        ),
        Row(
            "What the bars let through",
            (
                Panel(
                    "Accepted faces",
                    "Share of judged faces that were accepted, by camera. Faces that were not scored are not judged.",
                    (Query(share("facegate_faces_total", 'verdict="accepted"', JUDGED, by="camera"), "{{camera}}"),),
                    unit="percentunit",
                    most=1,
                ),
                Panel(
                    "Against a week ago",
                    "Share of visits with a published face, by camera, over that of the same hour a week ago: 1 is no "
                    "change. Empty until the gate has run for a week.",
                    (
                        Query(
                            f"facegate:visit_published:ratio_rate1h{{{CAMERA}}} / "
                            f"facegate:visit_published:ratio_rate1h{{{CAMERA}}} offset 1w",
                            "{{camera}}",
                        ),
                    ),
                    steps=(Step(RED), Step(GREEN, 0.5)),
                ),
                Panel(
                    "Reasons",
                    "Decisive reasons of rejected faces a second.",
                    (Query(rate("facegate_faces_total", f'{CAMERA},reason!=""', by="reason") + " > 0", "{{reason}}"),),
                    kind="stacked",
                    unit="cps",
                ),
            ),
        ),
        Row(
            "Drift and methods",
            (
                Panel(
                    "Drift",
                    "Population stability index of the last hour's quality against the baseline of `gate tune`. Below "
                    "0.1 nothing has changed, above 0.25 it has: look at the camera, then tune again. Empty without a "
                    "baseline.",
                    (Query(f"facegate_quality_drift{{{CAMERA}}}", "{{camera}}"),),
                    steps=(Step(GREEN), Step(AMBER, 0.1), Step(RED, 0.25)),
                ),
                Panel(
                    "Method in use",
                    "Which quality method scored when. A second one is a fallback: the log says why.",
                    (Query(f"max by (method) (facegate_method_active{{{INSTANCE}}})", "{{method}}"),),
                    kind="states",
                    names=((0, "waiting", "transparent"), (1, "scores", GREEN)),
                    steps=(Step("transparent"), Step(GREEN, 1)),
                ),
                Panel(
                    "Mean quality, by method",
                    "Of the faces each method scored. Calibrated methods agree roughly, never exactly.",
                    (Query(average("facegate_quality", CAMERA, by="method"), "{{method}}"),),
                    most=100,
                ),
            ),
        ),
    ),
)
