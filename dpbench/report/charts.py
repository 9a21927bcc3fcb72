"""The interactive charts as Vega-Lite specifications, and the script that draws them.

The one file that needs the extra `report`: altair writes and validates the specifications,
vl-convert brings the libraries that a browser draws them with, so that a page needs no network.
"""

import os
from contextlib import suppress
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from dpbench.home import home

LOWEST_RATE = 1e-4
"""Rates below are drawn there, since a logarithmic axis has no zero."""

HEIGHT = 420
HOVER = {
    "cell": "cell",
    "accuracy_text": "test accuracy",
    "leak_text": "leak",
    "attack": "attack",
    "limit_text": "limit of any attack",
}
"""What a point says when it is pointed at: fields of its row, and their names."""


def available() -> bool:
    """Returns whether the extra `report` is installed."""
    return find_spec("altair") is not None and find_spec("vl_convert") is not None


def scatter(title: str, *, rate: bool) -> dict[str, Any]:
    """Returns the chart of leak against accuracy, with one row per cell in the data set `points`.

    Args:
        title: What is measured upwards.
        rate: It is a rate at a fixed FPR, which spans decades, and not an advantage.

    A layer with a name is to be left out where no row has a value in the field of that name.
    """
    alt = _altair()

    accuracy = alt.X(
        "accuracy:Q",
        title="test accuracy",
        scale=alt.Scale(zero=False),
        axis=alt.Axis(format="~%", tickCount=8),
    )
    leak = alt.Y("drawn:Q", title=title, scale=_scale(alt, rate), axis=_axis(alt, rate))
    look = {"color": alt.Color("color:N", scale=None), "shape": alt.Shape("shape:N", scale=None)}
    points = alt.Chart(alt.NamedData("points"))
    joined = points.mark_line(strokeWidth=1.5, opacity=0.45).encode(
        accuracy, leak, detail="family:N", order="order:Q", color=look["color"]
    )
    across = points.mark_rule(opacity=0.5).encode(
        alt.X("accuracy_low:Q"), leak, alt.X2("accuracy_high"), color=look["color"]
    )
    along = points.mark_rule(opacity=0.5).encode(
        accuracy, alt.Y("low:Q"), alt.Y2("high"), color=look["color"]
    )
    marks = points.mark_point(
        filled=True, opacity=1, stroke="white", strokeWidth=0.7, cursor="pointer"
    ).encode(
        accuracy,
        leak,
        **look,
        size=alt.Size("area:Q", scale=None),
        tooltip=[alt.Tooltip(f"{field}:N", title=said) for field, said in HOVER.items()],
        description="summary:N",
    )
    limits = _limits(alt, points, accuracy, look["color"])
    return _finished(alt.layer(joined, across, along, *limits, marks))


def _limits(alt: Any, points: Any, accuracy: Any, color: Any) -> list[Any]:
    """Returns the layers of what no attack can exceed: a dash, or an arrow head on the top edge.

    The arrow head stands at pixel 0 and not at a value: no cell has a bound there. A dotted line
    joins it to its point, and its epsilon and its value are written above the chart.
    """
    top = alt.value(0)
    edge = {
        "dash": (points.mark_tick(orient="horizontal", thickness=3, size=16), alt.Y("limit:Q")),
        "stem": (points.mark_rule(strokeDash=[1, 3]), alt.Y("drawn:Q")),
        "beyond": (points.mark_point(shape="triangle-up", filled=True, size=60, opacity=1), top),
        "edge": (
            points.mark_text(angle=270, align="left", dx=9, fontSize=11, lineBreak="\n"),
            top,
        ),
    }
    more = {"stem": {"y2": top}, "edge": {"text": alt.Text("edge:N")}}
    return [
        chart.transform_filter(f"isValid(datum.{name})")
        .encode(x=accuracy, y=y, color=color, **more.get(name, {}))
        .properties(name=name)
        for name, (chart, y) in edge.items()
    ]


def roc() -> dict[str, Any]:
    """Returns the ROC chart: data sets `curves` (one row per vertex) and `intervals`."""
    alt = _altair()

    rates = {"x": ("fpr:Q", "false positive rate"), "y": ("tpr:Q", "true positive rate")}
    scale = alt.Scale(type="log", domain=[LOWEST_RATE, 1], clamp=True)
    x, y = (
        channel(rates[name][0], title=rates[name][1], scale=scale, axis=_axis(alt, rate=True))
        for name, channel in (("x", alt.X), ("y", alt.Y))
    )
    curves = (
        alt.Chart(alt.NamedData("curves"))
        .mark_line(strokeWidth=2)
        .encode(
            x,
            y,
            detail="curve:N",
            color=alt.Color("color:N", scale=None),
            strokeDash=alt.StrokeDash("dash:N", scale=None),
            tooltip=["curve:N", "fpr:Q", "tpr:Q"],
        )
    )
    intervals = (
        alt.Chart(alt.NamedData("intervals"))
        .mark_rule(strokeWidth=4, opacity=0.5)
        .encode(x, alt.Y("low:Q", scale=scale), alt.Y2("high"), alt.Color("color:N", scale=None))
    )
    return _finished(alt.layer(curves, intervals))


def _scale(alt: Any, rate: bool) -> Any:
    if rate:
        return alt.Scale(type="log", domain=[LOWEST_RATE, 1], clamp=True)
    return alt.Scale(zero=True, nice=False)  # the page's script sets the ends


def _altair() -> Any:
    """Imports altair, which looks for a home folder as it is imported and needs none."""
    if home():
        import altair
    else:
        os.environ["HOME"] = os.sep
        try:
            import altair
        finally:
            del os.environ["HOME"]
    return altair


def _axis(alt: Any, rate: bool) -> Any:
    return alt.Axis(format="~%", values=[1e-4, 1e-3, 1e-2, 1e-1, 1]) if rate else alt.Axis()


def _finished(chart: Any) -> dict[str, Any]:
    specification: dict[str, Any] = chart.properties(width="container", height=HEIGHT).to_dict()
    # The page brings a look for light and one for dark, and names no address.
    specification.pop("config", None)
    specification.pop("$schema", None)
    return specification


def script() -> str:
    """Returns vega, vega-lite and vega-embed as one script without outside addresses to load.

    Bundling takes seconds, so the result is kept in the user's cache, by version.
    """
    import vl_convert

    named, base = os.environ.get("XDG_CACHE_HOME"), home()
    cache = Path(named) if named else base / ".cache" if base else None
    kept = cache and cache / "dpbench" / f"vega-embed-{version('vl-convert-python')}.js"
    if kept and kept.is_file():
        return kept.read_text(encoding="utf-8")
    bundle: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    # Without a home folder, or with one that cannot be written to, it takes the seconds again.
    with suppress(OSError):
        if kept:
            kept.parent.mkdir(parents=True, exist_ok=True)
            temporary = kept.with_name(f"{kept.name}.{os.getpid()}")
            temporary.write_text(bundle, encoding="utf-8")
            temporary.replace(kept)
    return bundle
