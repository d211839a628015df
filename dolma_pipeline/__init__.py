"""Dolma-style data curation on Apache Beam: from raw documents to a scored model.

    import dolma_pipeline as dp
    result = dp.run("pipelines/quickstart.yaml", "workers=2")

Names are loaded on first use: importing this loads nothing, and Arrow only with the first of them.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dolma_pipeline.config import Recipe, load_recipe
    from dolma_pipeline.documents import Attributes, Batch, Document, Fields, Span, Value
    from dolma_pipeline.mixing import Available, Mixer, mixer
    from dolma_pipeline.registry import load_tagger
    from dolma_pipeline.runner import Result, run
    from dolma_pipeline.stages.tag_file import tag_file
    from dolma_pipeline.tagging import LoadedTagger, Tagger, tagger

__version__ = "0.1.0"

_LATE = {
    "Attributes": "dolma_pipeline.documents",
    "Available": "dolma_pipeline.mixing",
    "Batch": "dolma_pipeline.documents",
    "Document": "dolma_pipeline.documents",
    "Fields": "dolma_pipeline.documents",
    "LoadedTagger": "dolma_pipeline.tagging",
    "Mixer": "dolma_pipeline.mixing",
    "Recipe": "dolma_pipeline.config",
    "Result": "dolma_pipeline.runner",
    "Span": "dolma_pipeline.documents",
    "Tagger": "dolma_pipeline.tagging",
    "Value": "dolma_pipeline.documents",
    "load_recipe": "dolma_pipeline.config",
    "load_tagger": "dolma_pipeline.registry",
    "mixer": "dolma_pipeline.mixing",
    "run": "dolma_pipeline.runner",
    "tag_file": "dolma_pipeline.stages.tag_file",
    "tagger": "dolma_pipeline.tagging",
}
"""Public name -> the module that it is imported from when it is first asked for."""

__all__ = [
    "Attributes",
    "Available",
    "Batch",
    "Document",
    "Fields",
    "LoadedTagger",
    "Mixer",
    "Recipe",
    "Result",
    "Span",
    "Tagger",
    "Value",
    "__version__",
    "load_recipe",
    "load_tagger",
    "mixer",
    "run",
    "tag_file",
    "tagger",
]


def __getattr__(name: str) -> Any:
    if name not in _LATE:
        raise AttributeError(f"module 'dolma_pipeline' has no attribute {name!r}")
    from importlib import import_module

    member = globals()[name] = getattr(import_module(_LATE[name]), name)
    return member


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATE})


class _Package(ModuleType):
    # The package `dolma_pipeline.run` has the name of the function `run`. When the import system has loaded it, it puts
    # it here, in the function's place: the function must stay what `dolma_pipeline.run` is.

    @property
    def run(self) -> Any:
        return __getattr__("run")

    @run.setter
    def run(self, package: ModuleType) -> None:
        return


sys.modules[__name__].__class__ = _Package
