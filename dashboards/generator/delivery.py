"""Delivery: from the verdict to Redis, and from Redis to the recognizers."""

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
    quantile,
    rate,
)

DELIVERY = Board(
    uid="facegate-delivery",
    title="Gate · delivery",
    description="Events on their way to Redis, and what recognizers have left to do.",
    rows=(
        Row(
            "To Redis",
            (
                Panel(
                    "Events published",
                    "Events a second that Redis acknowledged.",
                    (Query(rate("facegate_published_total", CAMERA, by="type"), "{{type}}"),),
                    kind="stacked",
                    unit="cps",
                ),
                Panel(
                    "Time of one write",
                    "One write to Redis, p50 and p95.",
                    (
                        Query(quantile(0.5, "facegate_publish_seconds"), "p50"),
                        Query(quantile(0.95, "facegate_publish_seconds"), "p95"),
                    ),
                    unit="s",
                ),
                Panel(
                    "Time to the stream",
                    "From the decode of a visit's first face to its entry in Redis, all cameras.",
                    (
                        Query(quantile(0.5, "facegate_capture_to_publish_seconds", CAMERA), "p50"),
                        Query(quantile(0.95, "facegate_capture_to_publish_seconds", CAMERA), "p95"),
                        Query(quantile(0.99, "facegate_capture_to_publish_seconds", CAMERA), "p99"),
                    ),
                    unit="s",
                ),
            ),
        ),
        Row(
            "Waiting",
            (
                Panel(
                    "Events waiting",
                    "Accepted events that Redis has not acknowledged. Grows while Redis is away and is given again, in "
                    "order, when it is back.",
                    (Query(f"facegate_spool_events{{{INSTANCE}}}", "{{instance}}"),),
                    steps=(Step(GREEN), Step(AMBER, 100), Step(RED, 1000)),
                ),
                Panel(
                    "Bytes waiting",
                    "Size of the events that wait for Redis.",
                    (Query(f"facegate_spool_bytes{{{INSTANCE}}}", "{{instance}}"),),
                    unit="bytes",
                ),
                Panel(
                    "Events lost",
                    "Accepted events dropped before Redis had them, in the time shown, by reason. Must stay 0.",
                    (
                        Query(
                            f"sum by (reason) (increase(facegate_spool_dropped_total{{{INSTANCE}}}[$__range]))",
                            "{{reason}}",
                        ),
                    ),
                    kind="bars",
                    steps=(Step(GREEN), Step(RED, 1)),
                ),
                Panel(
                    "On the disk",
                    "Whether what waits would survive a crash. `memory`: no spool is configured, or its disk is full "
                    "or broken, which the log says.",
                    (Query(f"facegate_spool_durable{{{INSTANCE}}}", "{{instance}}"),),
                    kind="states",
                    names=((0, "memory", AMBER), (1, "disk", GREEN)),
                    steps=(Step(AMBER), Step(GREEN, 1)),
                    width=24,
                    height=5,
                ),
            ),
        ),
        Row(
            "Recognizers",
            (
                Panel(
                    "Entries waiting",
                    "Stream entries that a consumer group has not been given yet, from the metrics of its consumers. "
                    "It grows when they are too slow or gone; entries beyond the stream's limits are trimmed unread.",
                    (
                        Query(
                            "max by (stream, group) (facegate_consumer_waiting_entries)",
                            "{{group}} of {{stream}}",
                        ),
                    ),
                    steps=(Step(GREEN), Step(AMBER, 100), Step(RED, 1000)),
                ),
                Panel(
                    "Behind",
                    "Seconds from the newest entry that a group was given to the newest in the stream.",
                    (
                        Query(
                            "max by (stream, group) (facegate_consumer_behind_seconds)",
                            "{{group}} of {{stream}}",
                        ),
                    ),
                    unit="s",
                    steps=(Step(GREEN), Step(AMBER, 5), Step(RED, 60)),
                ),
                Panel(
                    "In hands",
                    "Entries given to a consumer and not acknowledged. One that stays is a face that its consumer "
                    "fails at.",
                    (
                        Query(
                            "max by (stream, group) (facegate_consumer_pending_entries)",
                            "{{group}} of {{stream}}",
                        ),
                    ),
                ),
                Panel(
                    "What became of entries",
                    "Entries a second by what a consumer did with them.",
                    (
                        Query(
                            "sum by (outcome) (rate(facegate_consumer_entries_total[$__rate_interval]))", "{{outcome}}"
                        ),
                    ),
                    kind="stacked",
                    unit="cps",
                    width=12,
                ),
                Panel(
                    "Consumers that reach Redis",
                    "1 while a consumer could ask its stream.",
                    (Query("facegate_consumer_up", "{{instance}}"),),
                    kind="states",
                    names=((0, "away", RED), (1, "reads", GREEN)),
                    steps=(Step(RED), Step(GREEN, 1)),
                    width=12,
                ),
            ),
        ),
    ),
)
