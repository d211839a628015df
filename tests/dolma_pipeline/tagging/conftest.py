from __future__ import annotations

from collections.abc import Iterator

import pytest

from dolma_pipeline.tagging import DECLARED


@pytest.fixture(autouse=True)
def own_declarations() -> Iterator[None]:
    """Taggers that a test declares are gone after it."""
    before = dict(DECLARED)
    DECLARED.clear()
    yield
    DECLARED.clear()
    DECLARED.update(before)
