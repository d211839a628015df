"""What a run left, for programs."""

from __future__ import annotations

import json
from pathlib import Path

from dolma_pipeline.runner import run
from tests.pipeline.tiny import corpus as corpus
from tests.pipeline.tiny import finished as finished
from tests.pipeline.tiny import here as here
from tests.pipeline.tiny import recipe


def test_manifests_and_counts(finished: Path, here: Path) -> None:
    result = run(recipe(finished), quiet=True)
    assert (
        result.manifests["mix"].counts["web"].dropped == result.manifests["mix"].record["counts"]["web"]["dropped"] > 5
    )
    assert result.manifests["attributes/length_v1"].stage == "tag"
    assert "rules" in result.manifests["mix"].counts["web"]
    assert result.manifests["mix"].counts["web"].get("nothing", 7) == 7
    record = json.loads(json.dumps(result.record()))
    assert record["nothing_to_do"] is True
    assert set(record["manifests"]) == {
        path.parent.relative_to(finished).as_posix() for path in finished.rglob("manif*") if "cache" not in path.parts
    }
    assert (record["planned"], record["scores"], record["output"]) == ([], {}, str(finished))


def test_of_some_stages(finished: Path, here: Path) -> None:
    result = run(recipe(finished), stages=("tag",), quiet=True)
    assert set(result.manifests) == {"index", "attributes/length_v1", "attributes/marks_v1"}
    assert "dropped by rule" not in result.text()
