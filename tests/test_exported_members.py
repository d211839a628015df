"""The public API: what `dolma_pipeline` and its packages say is public is there, and nothing else is."""

from __future__ import annotations

import importlib
import pkgutil

import pytest

import dolma_pipeline

PUBLIC = {
    "Attributes",
    "Batch",
    "Document",
    "Fields",
    "Mixer",
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
}
"""What people write after `dp.`; a name added or taken away is a change of the API and belongs in the change log."""

PACKAGES = sorted(module.name for module in pkgutil.iter_modules(dolma_pipeline.__path__) if module.ispkg)


def test_the_public_names_are_these() -> None:
    assert set(dolma_pipeline.__all__) >= PUBLIC


def test_run_stays_a_function_when_the_package_of_its_name_is_loaded() -> None:
    importlib.import_module("dolma_pipeline.run.layout")
    from dolma_pipeline.runner import run

    assert dolma_pipeline.run is run


def test_public_names_are_sorted_once_each_and_documented() -> None:
    names = list(dolma_pipeline.__all__)
    assert names == sorted(set(names))
    for name in names:
        member = getattr(dolma_pipeline, name)
        if callable(member) and getattr(member, "__module__", "").startswith("dolma_pipeline"):
            assert member.__doc__, f"{name} has no docstring"


def test_nothing_public_is_left_out() -> None:
    for name in dolma_pipeline.__all__:  # they are there once they were asked for
        getattr(dolma_pipeline, name)
    visible = {
        name
        for name, member in vars(dolma_pipeline).items()
        if not name.startswith("_") and getattr(member, "__module__", "").startswith("dolma_pipeline")
    }
    assert {"Batch", "Document", "Span"} <= visible <= set(dolma_pipeline.__all__)


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_has_what_it_exports(package: str) -> None:
    if package in ("train", "evals"):
        pytest.importorskip("torch")
    module = importlib.import_module(f"dolma_pipeline.{package}")
    assert module.__doc__
    assert module.__doc__ != "To be described."
    missing = [name for name in getattr(module, "__all__", []) if not hasattr(module, name)]
    assert missing == []


def test_the_version_is_the_distributions() -> None:
    from importlib.metadata import version

    assert dolma_pipeline.__version__ == version("dolma-pipeline")


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        dolma_pipeline.no_such_name
