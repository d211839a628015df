"""Curves of a run as a picture: PNG or SVG, by matplotlib. Equal runs give equal bytes with equal versions of it."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from dolma_pipeline.errors import UsageError
from dolma_pipeline.train.curves import Curves, Point, thinned

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FORMATS = (".png", ".svg")
ALL = "all sources"
"""The line of the whole loss."""
MOST_POINTS = 1000
"""Of a line; longer ones are means of stretches."""


def check_plot(name: str) -> str:
    """The format that a file's name asks for: `png` or `svg`.

    Raises:
        UsageError: neither, or matplotlib is missing.
    """
    suffix = PurePosixPath(name).suffix.lower()
    if suffix not in FORMATS:
        raise UsageError(f"{name}: a picture ends in {' or '.join(FORMATS)}; found {suffix or 'no ending'}.")
    if importlib.util.find_spec("matplotlib") is None:
        raise UsageError("a picture needs matplotlib, which is not here: pip install 'dolma-pipeline[report]'")
    return suffix[1:]


def picture(curves: Curves, *, title: str, form: str) -> bytes:
    """The picture, a panel for the loss, for bits per byte and for tasks, as far as there is anything to show.

    Args:
        title: above all. form: `png` or `svg`.
    """
    import matplotlib
    from matplotlib.figure import Figure

    panels = [
        ("loss (nats a token)", {ALL: curves.loss, **curves.losses}),
        ("held out (bits per byte)", curves.bits),
        ("tasks (share of right answers)", curves.tasks),
    ]
    shown = [(name, lines) for name, lines in panels if any(lines.values())]
    with matplotlib.rc_context({"svg.hashsalt": "dolma-pipeline", "font.family": "DejaVu Sans"}):
        figure = Figure(figsize=(7, 3.2 * len(shown)), layout="constrained")
        figure.suptitle(title)
        names = sorted({label for _, lines in shown for label in lines if label != ALL})
        colours = {ALL: "black"} | {label: f"C{number % 10}" for number, label in enumerate(names)}
        for axes, (name, lines) in zip(figure.subplots(len(shown), squeeze=False)[:, 0], shown, strict=True):
            _panel(axes, name, lines, colours)
            if lines is panels[0][1] and curves.skipped:
                ends = {"ymin": 0, "ymax": 0.05, "color": "tab:red", "label": "skipped"}
                for number, step in enumerate(curves.skipped[:MOST_POINTS]):
                    axes.axvline(step, **(ends if number == 0 else {**ends, "label": None}))
                axes.legend(fontsize="small")
        target = io.BytesIO()
        metadata: dict[str, Any] = {"Date": None} if form == "svg" else {"Software": None}
        figure.savefig(target, format=form, dpi=144, metadata=metadata)
    return target.getvalue()


def _panel(axes: Axes, name: str, lines: Mapping[str, Sequence[Point]], colours: Mapping[str, str]) -> None:
    for label, points in lines.items():
        drawn = thinned(points, MOST_POINTS)
        steps, values = [point.step for point in drawn], [point.value for point in drawn]
        colour = colours[label]
        marker = "o" if len(drawn) <= 20 else ""
        errors = [point.error for point in drawn if point.error is not None]
        axes.plot(steps, values, label=label, color=colour, marker=marker, markersize=3, linewidth=1.2)
        if len(errors) == len(drawn):
            axes.errorbar(steps, values, yerr=errors, fmt="none", ecolor=colour, capsize=2)
        chances = {point.chance for point in drawn if point.chance is not None}
        for chance in sorted(chances):
            axes.axhline(chance, color=colour, linestyle=":", linewidth=0.8)
    axes.set_title(name, fontsize="medium")
    axes.set_xlabel("step")
    axes.grid(alpha=0.3)
    if len(lines) > 1 or ALL not in lines:
        axes.legend(fontsize="small")
