"""Models and lists from a run's folder to this machine's disk, for workers that have nothing of the launcher's.

The launcher put them into `assets/<sha256>/<file>` of the folder. A file is fetched once a machine, by one process, and
its hash is checked whenever it is used (`assets.asset`).
"""

from __future__ import annotations

from dolma_pipeline import assets
from dolma_pipeline.run import layout
from dolma_pipeline.run.process import Process
from dolma_pipeline.run.run import Run
from dolma_pipeline.storage.shared import SharedFolder


def bring_assets(run: Run) -> None:
    """Have this process read the run's models from this machine's disk; asked again, it does nothing.

    Raises:
        RunError: the disk does not take them.
    """
    with Process.lock:
        Process.of(run).kept("assets brought", lambda: _brought(run))


def _brought(run: Run) -> bool:
    if run.folder.local_path() is not None:  # they are read where they are
        return False
    names = [entry.name for entry in run.folder.list(layout.ASSETS)]
    if not names:
        return False
    shared = SharedFolder("assets")
    for name in names:
        shared.file(name.removeprefix(f"{layout.ASSETS}/"), lambda name=name: run.folder.stream(name))  # type: ignore[misc]
    assets.use_folder(shared.path)
    return True
