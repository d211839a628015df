"""What came out of a run, for programs (`record`) and for people (`text`). Read from the run's folder alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from dolma_pipeline.io.manifest import Counts
from dolma_pipeline.io.paths import expanded
from dolma_pipeline.runner.decide import Decision
from dolma_pipeline.stages.context import RunContext


@dataclass(frozen=True)
class Manifest:
    """A unit's manifest. counts: source -> its counts. record: all of it, as on disk."""

    name: str
    stage: str
    counts: Mapping[str, Counts]
    record: Mapping[str, Any]


@dataclass(frozen=True)
class Result:
    """What a run left.

    output: its folder. manifests: unit (`mix`, `attributes/gopher_v1`) -> manifest. scores: training step -> results.
    metrics: an object a training step. planned: of a dry run, what would be done. nothing_to_do: all was done.
    """

    output: str
    manifests: Mapping[str, Manifest]
    scores: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    metrics: Sequence[Mapping[str, Any]] = ()
    events: Sequence[Mapping[str, Any]] = ()
    planned: Sequence[Decision] = ()
    num_shards: int = 0
    dry_run: bool = False
    nothing_to_do: bool = False

    def warnings(self) -> list[str]:
        """What the manifests warn of, `unit: text` each, in the order of the units."""
        return [f"{name}: {text}" for name, one in self.manifests.items() for text in one.record.get("warnings", ())]

    def record(self) -> dict[str, Any]:
        """All of it as JSON."""
        return {
            "output": self.output,
            "nothing_to_do": self.nothing_to_do,
            "planned": [{"unit": d.unit.name, "state": d.state} for d in self.planned],
            "manifests": {name: dict(m.record) for name, m in self.manifests.items()},
            "scores": {str(step): dict(scores) for step, scores in self.scores.items()},
        }

    def text(self) -> str:
        """The tables that a person reads."""
        from dolma_pipeline.runner.table import result_text

        return result_text(self)


def read_result(
    context: RunContext,
    units: Sequence[str],
    *,
    planned: Sequence[Decision] | None = None,
    shards: int = 0,
    nothing_to_do: bool = False,
    wanted: Sequence[str] = (),
) -> Result:
    """The result of what is in a run's folder, of the units that the recipe makes."""
    folder = context.path
    manifests: dict[str, Manifest] = {}
    for name in units:
        path = folder / name / "manifest.json"
        if not path.is_file():
            continue
        record = orjson.loads(path.read_bytes())
        if wanted and record["stage"] not in wanted:
            continue
        counts = {source: Counts(**found) for source, found in record["counts"].items()}
        manifests[name] = Manifest(name, record["stage"], counts, record)
    scores = {
        int(p.stem.split("-")[1]): orjson.loads(p.read_bytes()) for p in sorted((folder / "eval").glob("step-*.json"))
    }
    return Result(
        output=expanded(context.recipe.output),
        manifests=manifests,
        scores=scores,
        metrics=_lines(folder / "train" / "metrics.jsonl"),
        events=_lines(folder / "log" / "events.jsonl"),
        planned=planned or (),
        num_shards=shards,
        dry_run=planned is not None,
        nothing_to_do=nothing_to_do,
    )


def _lines(path: Path) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in path.read_bytes().splitlines()] if path.is_file() else []
