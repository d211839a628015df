"""The tiny corpus, the process that carries out the scenarios, and undisturbed runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.hosting import Host, Undisturbed
from tests.pipeline.tiny import corpus as corpus

BUDGET = {"mix__target_tokens": 9000, "mix__max_epochs": 3}
RULES = {
    "words": "length_v1.words >= 10",
    "calm": "NOT contains(text, 'copper copper')",  # read in the scan
    "unique": "exact.keep AND minhash.keep",
    "alone": "minhash.keep OR contains(text, 'river')",  # read when duplicates are marked
}


@pytest.fixture(scope="session")
def host(corpus: Path) -> Iterator[Host]:
    """Loads everything once."""
    host = Host(corpus, "whole")
    yield host
    host.end()


@pytest.fixture(scope="session")
def trained(host: Host, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """With a tokenizer that is trained, a budget and documents."""
    return Undisturbed.of(host, tmp_path_factory.mktemp("trained"), **BUDGET)


@pytest.fixture(scope="session")
def tokenizer(trained: Undisturbed) -> dict[str, str]:
    """One that is loaded."""
    return {"load": str(trained.folder / "tokenizer" / "tokenizer.json")}


@pytest.fixture(scope="session")
def loaded(host: Host, tokenizer: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """All that passes is taken, and documents are written while they are encoded; rules that read the text."""
    return Undisturbed.of(host, tmp_path_factory.mktemp("loaded"), tokenizer=tokenizer, mix__where=RULES)


@pytest.fixture(scope="session")
def bare(host: Host, tokenizer: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """Without documents, and with nothing held out."""
    without = {"mix__documents": None, "mix__held_out": None}
    return Undisturbed.of(host, tmp_path_factory.mktemp("bare"), tokenizer=tokenizer, **BUDGET, **without)
