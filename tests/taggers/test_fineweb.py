"""`fineweb_v1` gives the columns of its kernel, and datatrove's numbers where the two agree on what a line is."""

from __future__ import annotations

import numpy as np

from dolma_pipeline.documents import Batch
from dolma_pipeline.testing import check_tagger
from taggers.fineweb import FineWeb


def test_it_keeps_the_contract_of_a_tagger() -> None:
    check_tagger("fineweb_v1")
    check_tagger("fineweb_v1", short_line_chars=5)


def test_fields_and_their_types() -> None:
    found = FineWeb().tag(Batch.of(["", "One line.\nmenu\nmenu\n"]))
    assert list(found) == list(FineWeb.fields)
    assert all(column.dtype == np.float64 for column in found.values())
    assert [column[1] for column in found.values()] == [1 / 3, 1.0, 4 / 17, 3 / 4]
    longer = FineWeb(short_line_chars=4).tag(Batch.of(["One line.\nmenu\nmenu\n"]))
    assert longer["short_line_share"].tolist() == [2 / 3]
