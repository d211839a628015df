"""`plot RUN`: loss and scores of a run over its steps, as a picture."""

from __future__ import annotations

from pathlib import Path

from dolma_pipeline.cli.arguments import Arguments, Reply
from dolma_pipeline.errors import UsageError

DEFAULT = "plot.svg"


def main(arguments: Arguments) -> Reply:
    """Draw.

    Raises:
        UsageError: not one run, nothing to draw, a name that is no picture's, or matplotlib is missing.
        DataError: damaged metrics or results.
    """
    from dolma_pipeline.io import paths
    from dolma_pipeline.look.parts import opened_folder
    from dolma_pipeline.look.plot import check_plot, picture
    from dolma_pipeline.train.curves import read_curves

    if len(arguments.words) != 1:
        raise UsageError(
            f"'plot' takes the folder of a run; found {len(arguments.words)}: dolma-pipeline plot runs/quickstart"
        )
    (place,) = arguments.words
    output = arguments.values.get("--output", ("",))[-1]
    form = check_plot(output or DEFAULT)
    folder, _ = opened_folder(place)
    drawn = picture(read_curves(folder), title=place.rstrip("/").rpartition("/")[2] or place, form=form)
    if output:
        paths.write_bytes(Path(paths.expanded(output)), drawn)
    else:
        folder.write(DEFAULT, drawn)
        output = f"{folder.url}/{DEFAULT}"
    return Reply(f"{output}\n")
