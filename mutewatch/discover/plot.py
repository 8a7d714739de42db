"""The first fields over time, and what was played, as one HTML file that asks for nothing: `plot_page`."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from mutewatch.discover.panel import Array
from mutewatch.discover.rank import Ranked, Ranking
from mutewatch.discover.reference import Recording
from mutewatch.report.html import UPLOT, as_block, content_policy
from mutewatch.report.html import style as report_style

_FOLDER: Final = Path(__file__).parent / "page"
_PERIOD: Final = 60.0  # of the recording's levels where no field has a rhythm


def plot_page(ranking: Ranking, recording: Recording | None, top: int, notes: Iterable[str]) -> str:
    """Return the page with the first `top` fields, the recording above them."""
    shown = ranking.fields[:top]
    charts = [_recording_chart(recording, shown)] if recording else []
    charts += [_field_chart(number, one) for number, one in enumerate(shown, 1)]
    scripts = [(UPLOT / "uPlot.iife.min.js").read_text(encoding="utf-8"), _text("plot.js")]
    style = report_style() + _text("plot.css")
    environment = Environment(loader=FileSystemLoader(_FOLDER), autoescape=True, undefined=StrictUndefined)
    return environment.get_template("plot.html.j2").render(
        csp=content_policy(scripts, style),
        style=Markup(style),  # noqa: S704 (files of ours)
        scripts=[Markup(text) for text in scripts],  # noqa: S704
        notes=list(notes),
        charts=charts,
        block=as_block([{"times": chart["times"], "lines": chart["lines"]} for chart in charts]),
    )


def _field_chart(number: int, one: Ranked) -> dict[str, Any]:
    about = [str(one.panel.route), f"score {one.score:.2f}", one.why]
    if one.followed:
        about.append(f"r {one.followed.correlation:+.2f}, p {one.followed.p:.3f}")
    lines = [{"label": "value", "values": _numbers(one.column.values)}]
    return {
        "title": f"{number}. {one.name}",
        "about": " · ".join(about),
        "times": one.panel.ends.tolist(),
        "lines": lines,
    }


def _recording_chart(recording: Recording, shown: Sequence[Ranked]) -> dict[str, Any]:
    """Return the levels of the recording in the rhythm of the first field, over its time."""
    ends, period = (shown[0].panel.ends, shown[0].panel.period) if shown else _own_bins(recording)
    mean, highest = recording.windows(ends, period)[:2]
    lines = [{"label": "mean level, dB", "values": _numbers(mean)}]
    lines.append({"label": "highest level, dB", "values": _numbers(highest)})
    about = f"mean and highest level of each {period:.3g} s, in dB of full scale"
    return {"title": "What was played", "about": about, "times": ends.tolist(), "lines": lines}


def _own_bins(recording: Recording) -> tuple[Array, float]:
    return np.arange(recording.starts_at + _PERIOD, recording.ends_at + _PERIOD, _PERIOD), _PERIOD


def _numbers(values: Array) -> list[float | None]:
    """Return values for JSON, None for what is not there."""
    return [None if np.isnan(value) else float(f"{value:.7g}") for value in values]


def _text(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")
