"""From our panels to Grafana's JSON, through Grafana's own builders, whose types are its published schema."""

import json
from typing import Any

from grafana_foundation_sdk.builders import bargauge, dashboard, heatmap, stat, statetimeline, timeseries
from grafana_foundation_sdk.builders import common as options
from grafana_foundation_sdk.builders import prometheus as prometheus_query
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common, prometheus
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models import heatmap as heatmap_model

from dashboards.generator.panel import Board, Panel, Step

TAG = "facegate"

_SOURCE = model.DataSourceRef(type_val="prometheus", uid="${datasource}")


def to_json(board: Board) -> str:
    """One dashboard as Grafana imports and provisions it."""
    built = _dashboard(board).build()
    return json.dumps(built, cls=JSONEncoder, indent=2, sort_keys=True) + "\n"


def _dashboard(board: Board) -> Any:
    result = (
        dashboard.Dashboard(board.title)
        .uid(board.uid)
        .description(board.description)
        .tags([TAG])
        .refresh("30s")
        .time(board.since, "now")
        .timezone("browser")
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .link(_links())
        .with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))
        .with_variable(_choice("instance", "Gate", "label_values(facegate_build_info, instance)"))
        .with_variable(
            _choice(
                "camera",
                "Camera",
                'label_values(facegate_camera_up{instance=~"$instance"}, camera)',
                one=board.one_camera,
            )
        )
    )
    for row in board.rows:
        result = result.with_row(dashboard.Row(row.title))
        for panel in row.panels:
            result = result.with_panel(_panel(panel))
    return result


def _links() -> Any:
    return (
        dashboard.DashboardLink("Gate dashboards")
        .type(model.DashboardLinkType.DASHBOARDS)
        .tags([TAG])
        .as_dropdown(True)
        .keep_time(True)
        .include_vars(True)
    )


def _choice(name: str, label: str, query: str, *, one: bool = False) -> Any:
    variable = (
        dashboard.QueryVariable(name)
        .label(label)
        .datasource(_SOURCE)
        .query(query)
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(model.VariableSort.ALPHABETICAL_ASC)
    )
    if one:
        return variable
    everything = model.VariableOption(selected=True, text="All", value="$__all")
    return variable.multi(True).include_all(True).all_value(".*").current(everything)


def _panel(panel: Panel) -> Any:
    shape = {
        "stat": _stat,
        "lines": _lines,
        "stacked": _stacked,
        "bars": _bars,
        "heatmap": _heatmap,
        "states": _states,
    }[panel.kind](panel)
    shape = (
        shape.title(panel.title)
        .description(panel.description)
        .datasource(_SOURCE)
        .unit(panel.unit)
        .span(panel.width)
        .height(panel.height)
    )
    if panel.most is not None and panel.kind != "heatmap":
        shape = shape.max(panel.most)
    for number, query in enumerate(panel.queries):
        shape = shape.with_target(_target(panel, query.expr, query.legend, chr(ord("A") + number)))
    return shape


def _target(panel: Panel, expr: str, legend: str, ref_id: str) -> Any:
    target = prometheus_query.Dataquery().expr(expr).ref_id(ref_id).datasource(_SOURCE)
    if legend:
        target = target.legend_format(legend)
    if panel.kind == "heatmap":
        return target.format(prometheus.PromQueryFormat.HEATMAP).range()
    return target.instant() if panel.kind in {"stat", "bars"} else target.range()


def _thresholds(steps: tuple[Step, ...]) -> Any:
    found = [model.Threshold(value=step.from_value, color=step.colour) for step in steps]
    return dashboard.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(found)


def _words(panel: Panel) -> list[Any]:
    return [
        model.ValueMap(options={f"{value:g}": model.ValueMappingResult(text=word, color=colour, index=place)})
        for place, (value, word, colour) in enumerate(panel.names)
    ]


def _last() -> Any:
    return options.ReduceDataOptions().calcs(["lastNotNull"]).values(False)


def _stat(panel: Panel) -> Any:
    return (
        stat.Panel()
        .reduce_options(_last())
        .thresholds(_thresholds(panel.steps))
        .mappings(_words(panel))
        .graph_mode(common.BigValueGraphMode.NONE)
        .color_mode(common.BigValueColorMode.VALUE)
        .min(0)
    )


def _bars(panel: Panel) -> Any:
    return (
        bargauge.Panel()
        .reduce_options(_last())
        .thresholds(_thresholds(panel.steps))
        .orientation(common.VizOrientation.HORIZONTAL)
        .display_mode(common.BarGaugeDisplayMode.BASIC)
        .min(0)
    )


def _lines(panel: Panel) -> Any:
    marked = any(step.from_value is not None for step in panel.steps)
    return (
        timeseries.Panel()
        .min(0)
        .line_width(1.5)
        .fill_opacity(8)
        .show_points(common.VisibilityMode.NEVER)
        .legend(_legend())
        .tooltip(options.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI).sort(common.SortOrder.DESCENDING))
        .thresholds(_thresholds(panel.steps))
        .thresholds_style(
            options.GraphThresholdsStyleConfig().mode(
                common.GraphThresholdsStyleMode.DASHED if marked else common.GraphThresholdsStyleMode.OFF
            )
        )
    )


def _stacked(panel: Panel) -> Any:
    return _lines(panel).fill_opacity(35).stacking(options.StackingConfig().mode(common.StackingMode.NORMAL))


def _legend() -> Any:
    return (
        options.VizLegendOptions()
        .display_mode(common.LegendDisplayMode.LIST)
        .placement(common.LegendPlacement.BOTTOM)
        .show_legend(True)
    )


def _heatmap(panel: Panel) -> Any:
    return (
        heatmap.Panel()
        .calculate(False)
        .color(heatmap.HeatmapColorOptions().mode(heatmap_model.HeatmapColorMode.SCHEME).scheme("Blues").steps(32))
        .y_axis(heatmap.YAxisConfig().unit(panel.unit))
        .show_legend()
    )


def _states(panel: Panel) -> Any:
    return (
        statetimeline.Panel()
        .mappings(_words(panel))
        .thresholds(_thresholds(panel.steps))
        .show_value(common.VisibilityMode.NEVER)
        .row_height(0.8)
        .legend(_legend())
    )
