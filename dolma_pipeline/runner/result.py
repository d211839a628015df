"""What came out of a run, for programs (`record`) and for people (`text`). Read from the run's folder alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

from dolma_pipeline.evals.results import FOLDER, variant
from dolma_pipeline.io.manifest import Counts
from dolma_pipeline.io.paths import expanded
from dolma_pipeline.run import layout
from dolma_pipeline.run.manifests import read_manifest
from dolma_pipeline.run.model_folder import ADAPTED
from dolma_pipeline.run.run import Run
from dolma_pipeline.runner.decide import Decision

if TYPE_CHECKING:
    from dolma_pipeline.runner.failures import LostFile


@dataclass(frozen=True)
class Manifest:
    """An artifact's manifest. counts: source -> its counts. record: all of it, as on disk."""

    name: str
    stage: str
    counts: Mapping[str, Counts]
    record: Mapping[str, Any]


@dataclass(frozen=True)
class Result:
    """What a run left.

    output: its folder. manifests: artifact (`mix`, `attributes/gopher_v1`) -> manifest. scores: training step ->
    results. metrics: an object a training step. lost_files: files that could not be read to their end.
    planned: of a dry run, what would be done. nothing_to_do: all was done. early_warnings: those that are
    known before a run. stage_scores: `sft` or `dpo` -> the scores of its model.
    """

    output: str
    manifests: Mapping[str, Manifest]
    scores: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    metrics: Sequence[Mapping[str, Any]] = ()
    events: Sequence[Mapping[str, Any]] = ()
    lost_files: Sequence[LostFile] = ()
    planned: Sequence[Decision] = ()
    early_warnings: Sequence[str] = ()
    num_shards: int = 0
    dry_run: bool = False
    nothing_to_do: bool = False
    stage_scores: Mapping[str, Mapping[int, Mapping[str, Any]]] = field(default_factory=dict)

    def warnings(self) -> list[str]:
        """What is warned of: before the run, sources without documents, and by manifests (`artifact: text`)."""
        index = self.manifests.get(layout.INDEX)
        empty = [name for name, one in index.counts.items() if one.get("in", 0) == 0] if index is not None else []
        none = [f"source '{name}' has no documents: there is nothing in its files" for name in empty]
        made = [f"{name}: {text}" for name, one in self.manifests.items() for text in one.record.get("warnings", ())]
        return [*self.early_warnings, *none, *made]

    def record(self) -> dict[str, Any]:
        """All of it as JSON."""
        return {
            "output": self.output,
            "nothing_to_do": self.nothing_to_do,
            "planned": [{"artifact": d.artifact.name, "state": d.state} for d in self.planned],
            "lost_files": [one._asdict() for one in self.lost_files],
            "manifests": {name: dict(m.record) for name, m in self.manifests.items()},
            "scores": {str(step): dict(scores) for step, scores in self.scores.items()},
            "stage_scores": {
                stage: {str(step): dict(found) for step, found in scores.items()}
                for stage, scores in self.stage_scores.items()
            },
        }

    def text(self) -> str:
        """The tables that a person reads."""
        from dolma_pipeline.runner.table import result_text

        return result_text(self)


def read_result(
    run: Run,
    artifacts: Sequence[str],
    *,
    planned: Sequence[Decision] | None = None,
    shards: int = 0,
    nothing_to_do: bool = False,
    wanted: Sequence[str] = (),
    warnings: Sequence[str] = (),
) -> Result:
    """The result of what is in a run's folder, of the artifacts that the recipe makes."""
    from dolma_pipeline.runner.failures import lost_files

    manifests: dict[str, Manifest] = {}
    for name in artifacts:
        record = read_manifest(run.folder, name)
        if record is None or (wanted and record["stage"] not in (*wanted, "index")):
            continue
        counts = {source: Counts(**found) for source, found in record["counts"].items()}
        manifests[name] = Manifest(name, record["stage"], counts, record)
    return Result(
        output=expanded(run.recipe.output),
        manifests=manifests,
        scores=dict(_scores(run)),
        stage_scores={stage: found for stage in ADAPTED if (found := dict(_scores(run, stage)))},
        metrics=_lines(run, "train/metrics.jsonl"),
        events=_lines(run, "log/events.jsonl"),
        lost_files=lost_files(run) if "index" in manifests else (),
        planned=planned or (),
        early_warnings=warnings,
        num_shards=shards,
        dry_run=planned is not None,
        nothing_to_do=nothing_to_do,
    )


def _scores(run: Run, stage: str = "train") -> Iterator[tuple[int, dict[str, Any]]]:
    config = run.recipe.eval
    kind = variant(precision=config.precision) if config is not None else ""
    folder = layout.of_model(stage, f"{FOLDER}/{kind}" if kind else FOLDER)
    for entry in run.folder.list(folder):
        name = entry.name.removeprefix(f"{folder}/")
        if name.startswith("step-") and name.endswith(".json"):
            yield int(name.removesuffix(".json").split("-")[1]), orjson.loads(run.folder.read(entry.name))


def _lines(run: Run, name: str) -> list[dict[str, Any]]:
    if run.folder.stat(name) is None:
        return []
    return [orjson.loads(line) for line in run.folder.read(name).splitlines()]
