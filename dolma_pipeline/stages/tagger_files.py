"""Files of the user's that taggers read, such as models and lists: hashed once, taken along in the run's folder.

A tagger names them among its `assets`, by path or URL. What is made depends on their content, not on where they lay.
"""

from __future__ import annotations

from collections.abc import Mapping

from dolma_pipeline import assets
from dolma_pipeline.errors import AssetError
from dolma_pipeline.run import layout
from dolma_pipeline.run.process import Process
from dolma_pipeline.stages.fixed_files import sha256_of
from dolma_pipeline.storage.folder import COPIED_AT_ONCE
from dolma_pipeline.storage.inputs import location, open_stream
from dolma_pipeline.tagging import LoadedTagger


def short_names(tagger: LoadedTagger) -> dict[str, str]:
    """Path or URL of each file of the user's that a tagger reads -> its file name.

    Raises:
        AssetError: two files have one name.
    """
    names = {name: assets.given_name(name, "").removeprefix("/") for name in tagger.assets if assets.is_path(name)}
    for name, short in names.items():
        if (others := [other for other, its in names.items() if its == short])[0] != name:
            raise AssetError(f"{name} and {others[0]} have one file name; a tagger's files have different ones.")
    return names


def given_files(process: Process, tagger: LoadedTagger) -> dict[str, str]:
    """Path or URL of each file of the user's that a tagger reads -> its sha256; read once a process.

    Raises:
        UsageError: one is not there.
    """
    return {name: process.kept(("given file", name), lambda name=name: sha256_of(_place(process, name)))  # type: ignore[misc]
            for name in short_names(tagger)}  # fmt: skip


def copy_given(process: Process, files: Mapping[str, str]) -> None:
    """Puts files of the user's into the run's folder of assets, those that are not there.

    Args:
        files: path or URL -> sha256.

    Raises:
        AssetError: one was changed since it was hashed. RunError: the folder does not take it.
    """
    folder = process.run.folder
    for name, sha256 in files.items():
        target = f"{layout.ASSETS}/{assets.given_name(name, sha256)}"
        if folder.stat(target) is not None:
            continue
        with open_stream(_place(process, name)) as source, folder.committing(target) as file:
            while piece := source.read(COPIED_AT_ONCE):
                file.write(piece)
            if file.sha256 != sha256:
                raise AssetError(f"{name}: the file was changed while the run began. Run again.")


def _place(process: Process, name: str) -> str:
    return location(name, process.run.recipe.input_settings())
