"""Colours for what CSS does not reach, and the options of charts.

Charts are drawn on a canvas, which knows no CSS variables: these colours are readable on the light page and on the dark one.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from nicegui import __version__, dependencies, ui

from tunesmith.studio.metrics import Point
from tunesmith.studio.readable import items, number, whole

BLUE, ORANGE, GREEN, RED, GREY = "#3b82c4", "#d0752a", "#3f9b63", "#d05a55", "#7f868e"
SERIES_COLOURS = (BLUE, ORANGE, GREEN, RED, GREY)

FAVICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="7" fill="#1a5fa8"/>'
    '<path d="M11 6v9a5 5 0 0 0 10 0V6M16 20v6" fill="none" stroke="#fff" stroke-width="3" stroke-linecap="round"/></svg>'
)


def stylesheet() -> str:
    """studio.css."""
    return resources.files("tunesmith.studio").joinpath("studio.css").read_text(encoding="utf-8")


def preload_charts() -> None:
    """Have the browser fetch ECharts along with a page that begins with charts, not when the page is put together, which waits for it."""
    for address in _chart_files():
        ui.add_head_html(f'<link rel="modulepreload" href="{address}">')


@functools.cache
def _chart_files() -> tuple[str, ...]:
    """Addresses of the module that `ui.echart` imports, and of what that imports; their names are those of NiceGUI's version."""
    ui.echart  # noqa: B018 - registers the module
    key, module = next((key, one) for key, one in dependencies.esm_modules.items() if one.name == "nicegui-echart")
    imported = re.findall(r'from\s*"\./([\w.-]+)"', (module.path / "index.js").read_text(encoding="utf-8"))
    return tuple(f"/_nicegui/{__version__}/esm/{key}/{name}" for name in ("index.js", *imported))


def curve_options(
    curves: Mapping[str, Sequence[Point]], *, x: str = "step", y: str = "", log: bool = False, dots: Sequence[str] = (), zero: bool = False
) -> dict[str, Any]:
    """Options of `ui.echart` for curves over steps; `dots` names those with few points, which are marked; `zero` begins the axis there.

    The names of curves are values here, never keys, so they may come from a user. Tooltips are drawn as text.
    """
    colours = zip(curves, [SERIES_COLOURS[number % len(SERIES_COLOURS)] for number in range(len(curves))], strict=True)
    return {
        "animation": False,
        "grid": {"left": 8, "right": 16, "top": 34 if len(curves) > 1 else 22, "bottom": 26, "containLabel": True},
        "legend": {"show": len(curves) > 1, "top": 0, "right": 0, "textStyle": {"color": GREY}},
        "tooltip": {"trigger": "axis", "renderMode": "richText", "confine": True},
        "xAxis": {
            "type": "value",
            "name": x,
            "nameLocation": "middle",
            "nameGap": 24,
            "min": "dataMin",
            "max": "dataMax",
            **_axis(lines=False),
        },
        "yAxis": {
            "type": "log" if log else "value",
            "name": y,
            "scale": not zero,
            **_axis(lines=True),
            "nameTextStyle": {"color": GREY, "align": "left"},
        },
        "series": [
            {
                "type": "line",
                "name": name,
                "data": [[point.x, point.y] for point in curves[name]],
                "showSymbol": name in dots or len(curves[name]) == 1,
                "symbol": "circle",
                "symbolSize": 6,
                "lineStyle": {"width": 1.75, "color": colour},
                "itemStyle": {"color": colour},
            }
            for name, colour in colours
        ],
    }


def _axis(*, lines: bool) -> dict[str, Any]:
    return {
        "axisLabel": {"color": GREY},
        "nameTextStyle": {"color": GREY},
        "axisLine": {"show": not lines, "lineStyle": {"color": "rgba(128,128,128,0.5)"}},
        "splitLine": {"show": lines, "lineStyle": {"color": "rgba(128,128,128,0.2)"}},
    }


def length_options(lengths: object) -> dict[str, Any]:
    """Options of `ui.echart` for a histogram as `tunesmith preview --json` gives it: `{"width", "counts"}`."""
    width = whole(lengths, "width") or 1
    counts = [count for one in items(lengths, "counts") if (count := number({"n": one}, "n")) is not None]
    return {
        "animation": False,
        "grid": {"left": 8, "right": 16, "top": 22, "bottom": 26, "containLabel": True},
        "tooltip": {"trigger": "axis", "renderMode": "richText", "confine": True},
        "xAxis": {
            "type": "category",
            "name": "tokens, up to",
            "nameLocation": "middle",
            "nameGap": 24,
            "data": [str((place + 1) * width) for place in range(len(counts))],
            **_axis(lines=False),
        },
        "yAxis": {"type": "value", "name": "examples", **_axis(lines=True)},
        "series": [{"type": "bar", "name": "examples", "data": counts, "itemStyle": {"color": BLUE}, "barCategoryGap": "10%"}],
    }
