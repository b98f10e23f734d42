"""The pipeline and the device: where the time goes, and whether there is enough of it."""

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
    average,
    quantile,
    rate,
    share,
)

PIPELINE = Board(
    uid="facegate-pipeline",
    title="Gate · pipeline and device",
    description="Time by stage, frames kept and dropped, memory, fallbacks.",
    rows=(
        Row(
            "Time",
            (
                Panel(
                    "Share of a second by stage",
                    "Seconds of work a second. The stages of the engine (all but `publish`) share one thread: when "
                    "they come near 1, frames are dropped.",
                    (Query(rate("facegate_stage_seconds_sum", INSTANCE, by="stage"), "{{stage}}"),),
                    kind="stacked",
                    unit="percentunit",
                    width=12,
                ),
                Panel(
                    "One call of a stage, p95",
                    "Which stage takes long.",
                    (Query(quantile(0.95, "facegate_stage_seconds", INSTANCE, by="stage"), "{{stage}}"),),
                    unit="s",
                    width=12,
                ),
                Panel(
                    "Faces a batch",
                    "Mean number of faces scored together. Larger batches cost less a face.",
                    (Query(average("facegate_batch_faces", INSTANCE, by="instance"), "{{instance}}"),),
                ),
                Panel(
                    "Frames",
                    "Frames of all cameras a second, by what became of them.",
                    (Query(rate("facegate_frames_total", CAMERA, by="outcome"), "{{outcome}}"),),
                    kind="stacked",
                    unit="cps",
                ),
                Panel(
                    "Frames not searched",
                    "Frames a second that showed what an empty one had shown a moment before: nobody was there.",
                    (Query(rate("facegate_frames_still_total", CAMERA, by="camera"), "{{camera}}"),),
                    unit="cps",
                ),
                Panel(
                    "Frames dropped, by camera",
                    "Share of each camera's frames that were not analysed.",
                    (Query(share("facegate_frames_total", 'outcome="dropped"', by="camera"), "{{camera}}"),),
                    unit="percentunit",
                    most=1,
                ),
            ),
        ),
        Row(
            "Too much to do",
            (
                Panel(
                    "Shedding",
                    "When a gate that cannot keep up left out second opinions, and frames after them. A minute in a "
                    "morning rush is what it is for; hours are a machine that is too small.",
                    (
                        Query(
                            f"max by (instance, what) (facegate_shedding{{{INSTANCE}}})",
                            "{{instance}} {{what}}",
                        ),
                    ),
                    kind="states",
                    names=((0, "kept", "transparent"), (1, "left out", AMBER)),
                    steps=(Step("transparent"), Step(AMBER, 1)),
                    width=12,
                ),
                Panel(
                    "Left out",
                    "Second opinions and frames a second that were left out.",
                    (Query(rate("facegate_shed_total", INSTANCE, by="what"), "{{what}}"),),
                    kind="stacked",
                    unit="cps",
                    width=12,
                ),
            ),
        ),
        Row(
            "Machine",
            (
                Panel(
                    "Processor",
                    "Cores that the gate keeps busy.",
                    (Query(f"rate(process_cpu_seconds_total{{{INSTANCE}}}[$__rate_interval])", "{{instance}}"),),
                ),
                Panel(
                    "Memory",
                    "Resident memory of the process.",
                    (Query(f"process_resident_memory_bytes{{{INSTANCE}}}", "{{instance}}"),),
                    unit="bytes",
                ),
                Panel(
                    "Memory on the compute device",
                    "What the process holds on the device that scores; 0 on a CPU.",
                    (Query(f"facegate_device_memory_bytes{{{INSTANCE}}}", "{{instance}}"),),
                    unit="bytes",
                ),
                Panel(
                    "Open files",
                    "File descriptors in use. It must not grow from day to day.",
                    (Query(f"process_open_fds{{{INSTANCE}}}", "{{instance}}"),),
                ),
                Panel(
                    "Fallbacks",
                    "Times the gate went a weaker way in the time shown, by cause. `borderline` is a second opinion "
                    "that was asked for.",
                    (
                        Query(
                            f"sum by (cause) (increase(facegate_fallback_total{{{INSTANCE}}}[$__range]))", "{{cause}}"
                        ),
                    ),
                    kind="bars",
                    steps=(Step(BLUE), Step(AMBER, 1)),
                ),
                Panel(
                    "Running since",
                    "A process that starts again and again is killed or dies: see its log and its supervisor.",
                    (Query(f"time() - process_start_time_seconds{{{INSTANCE}}}", "{{instance}}"),),
                    kind="stat",
                    unit="s",
                    steps=(Step(RED), Step(GREEN, 300)),
                ),
            ),
        ),
    ),
)
