"""The looks of whole small runs against what was written; the check of what was written."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from dolma_pipeline.errors import DataError
from dolma_pipeline.run.run import Run
from dolma_pipeline.stages.dedupe import check, write
from dolma_pipeline.stages.dedupe.origins import numbers_of, origins_of
from tests.dolma_pipeline.stages.dedupe.test_verified import FAMILIES, marks, recipe
from tests.dolma_pipeline.stages.small import made, make, manifest, small_run


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return made(tmp_path_factory.mktemp("looks"), FAMILIES, **recipe())


def gone_of(run: Run) -> dict[str, dict[str, Any]]:
    return {origin: one for origin, one in marks(run, FAMILIES).items() if not one["keep"]}


def test_looks_are_those_of_the_columns(done: Run) -> None:
    found, gone = manifest(done, "attributes/near")["looks"], gone_of(done)
    sizes = Counter(name.split("/")[0] for name, some in FAMILIES.items() for _ in some)
    lost = Counter(origin.split("/")[0] for origin in gone)
    assert {name: (one["documents"], one["removed"]) for name, one in found["sources"].items()} == {
        name: (sizes[name], lost[name]) for name in sizes
    }
    stars = Counter(one["cluster"] for one in gone.values())
    assert {one["keeper"]: one["removed"] for one in found["largest_stars"]}.items() <= stars.items()
    assert [one["removed"] for one in found["largest_stars"]] == sorted(stars.values(), reverse=True)[:20]
    assert sum(found["likeness"].values()) == len(gone)
    assert found["near_threshold"] == sum(one["jaccard"] < 0.85 for one in gone.values()) > 0
    assert found["pairs"]["compared"] >= found["pairs"]["alike"] >= len(gone)
    assert manifest(done, "attributes/near")["checked"] == {"removed": len(gone), "compared_again": len(gone)}
    told = manifest(done, "attributes/near")["warnings"]
    assert any("of source 'web'" in one for one in told)


@pytest.mark.parametrize(("threshold", "beside"), [(0.8, 0.85), (0.85, 0.8), (0.75, 0.7)])
def test_what_another_threshold_would_do(tmp_path: Path, threshold: float, beside: float) -> None:
    told = manifest(made(tmp_path, FAMILIES, **recipe(threshold=threshold)), "attributes/near")["looks"]
    one = told["thresholds"][f"{beside:.2f}"]
    other = gone_of(made(tmp_path, FAMILIES, **recipe(threshold=beside)))
    if one["exact"]:
        assert one["removed"] == len(other)
    assert abs(one["removed"] - len(other)) <= one["not_compared"]
    assert one["removed"] > 20


def test_exact_steps_have_sources_and_stars(tmp_path: Path) -> None:
    shards = {"web/a": ["same"] * 3 + ["other"], "code/b": ["same", "alone"]}
    run = made(tmp_path, shards, dedupe={"steps": [{"name": "first", "kind": "exact"}]})
    found = manifest(run, "attributes/first")["looks"]
    assert found == {
        "sources": {"code": {"documents": 2, "removed": 1, "share": 0.5},
                    "web": {"documents": 4, "removed": 2, "share": 0.5}},
        "largest_stars": [{"keeper": "web/a#0", "source": "web", "removed": 3}],
    }  # fmt: skip


def test_numbers_and_origins_are_inverse(done: Run) -> None:
    numbers = np.random.default_rng(1).permutation(sum(map(len, FAMILIES.values())))
    origins = origins_of(done, numbers)
    assert numbers_of(done, origins).tolist() == numbers.tolist()
    assert numbers_of(done, pa.array([], pa.string())).tolist() == []
    for wrong in ("web/a#99999", "web/none#0", "no origin", "#3"):
        with pytest.raises(DataError, match=f"for '{wrong}', which is no document of this run"):
            numbers_of(done, pa.array([origins[0].as_py(), wrong]))


def changed(field: str, change: Any) -> Any:
    """`write.marks` with one field of documents that go changed; given keep and the field, as lists."""
    real = write.marks

    def marks(*args: Any) -> pa.StructArray:
        column = real(*args)
        keep, values = column.field("keep").to_pylist(), column.field(field).to_pylist()
        arrays = [column.field(one.name) for one in column.type]
        at = column.type.get_field_index(field)
        arrays[at] = pa.array(change(keep, values), column.type.field(at).type)
        return pa.StructArray.from_arrays(arrays, fields=list(column.type))

    return marks


@pytest.mark.parametrize(
    ("field", "change", "words"),
    [
        ("cluster", lambda keep, v: [v[0] if k else next(o for o in v if o != w) for k, w in zip(keep, v, strict=True)],
         "stays, but is in the cluster of another document|marked as a duplicate of"),
        ("keep", lambda keep, v: [not one for one in v], "stays, but is in the cluster of another document|which does"),
        ("keep", lambda keep, v: [False] * len(v), "has no key in common|marked as a duplicate of"),
        ("jaccard", lambda keep, v: [one if k else 0.1 for k, one in zip(keep, v, strict=True)],
         r"\(likeness 0\.1000, threshold 0\.8\), which is less like it than"),
        ("jaccard", lambda keep, v: [one if k else min(1.0, one + 0.01) for k, one in zip(keep, v, strict=True)],
         "but its sets say"),
        ("cluster", lambda keep, v: [one if k else "web/a#777" for k, one in zip(keep, v, strict=True)],
         "for 'web/a#777', which is no document of this run"),
    ],
)  # fmt: skip
def test_a_fault_of_the_writing_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, field: str, change: Any, words: str
) -> None:
    monkeypatch.setattr(write, "marks", changed(field, change))
    run = small_run(tmp_path, FAMILIES, **recipe())
    with pytest.raises(DataError, match=words) as error:
        make(run)
    assert error.value.exit_code == 1
    assert run.folder.stat("attributes/near/manifest.json") is None


def test_the_sample_that_is_compared_again_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "COMPARED_AGAIN", 5)
    run = made(tmp_path, FAMILIES, **recipe())
    assert manifest(run, "attributes/near")["checked"]["compared_again"] == 5
