"""How many tokens documents have: measured where they were encoded, else estimated from the bytes of their text.

Documents that passed the rules of any run since the kept ids were begun are measured: by `mix/selected` of the mix that
is in the folder, and by the kept ids beside it, which another run of other rules may have left more of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from dolma_pipeline.config.recipe import MixConfig, MixSourceConfig, Recipe
from dolma_pipeline.errors import DataError
from dolma_pipeline.look.folder import Finished, SourceRows
from dolma_pipeline.look.table import Group, read_shards
from dolma_pipeline.run import layout
from dolma_pipeline.run.artifact import digest
from dolma_pipeline.run.manifests import read_manifest
from dolma_pipeline.run.shards import Block
from dolma_pipeline.stages import kept
from dolma_pipeline.stages.encode import ids_digest
from dolma_pipeline.stages.rules import mix_config
from dolma_pipeline.stages.tokenizer import edit_columns

UNKNOWN = -1


def edits_of(mix: MixConfig, source: str) -> list[Any]:
    """What a source's texts are edited by; equal for equal edits."""
    own = mix.sources.get(source, MixSourceConfig())
    return [[[one.spans, one.with_, one.key, one.bounds] for one in (*mix.replace, *own.replace)], list(own.remove)]


@dataclass(frozen=True)
class Tokens:
    """Tokens of documents, as far as they are known.

    counts: int64[n], EOS counted; UNKNOWN where a document was never encoded. ratio: tokens a byte of those that are
    known; None: none is.
    """

    counts: NDArray[np.int64]
    ratio: float | None

    @property
    def known(self) -> NDArray[np.bool_]:
        """Which documents are measured."""
        found: NDArray[np.bool_] = self.counts != UNKNOWN
        return found

    def estimated(self, sizes: NDArray[np.int64]) -> NDArray[np.int64]:
        """All counts: those that are not known by the bytes of the text, 0 where nothing is known."""
        guess = np.rint(sizes * (self.ratio or 0.0)).astype(np.int64)
        return np.where(self.known, self.counts, guess)


def ratio_of(parts: list[tuple[NDArray[np.int64], NDArray[np.int64]]]) -> float | None:
    """Tokens a byte over the measured documents of some sources; (counts, bytes) each."""
    tokens = sum(int(counts[counts != UNKNOWN].sum()) for counts, _ in parts)
    size = sum(int(sizes[counts != UNKNOWN].sum()) for counts, sizes in parts)
    return tokens / size if size else None


@dataclass(frozen=True)
class Measures:
    """Where the tokens of a run's documents are written.

    selected: `mix/selected` was measured with the recipe's tokenizer and edits; mark: what it and the kept ids hold.
    stems: shard and content (`kept.content_of`) -> its files of kept ids, without ending, of the seed that has most.
    """

    finished: Finished
    selected: bool
    stems: Mapping[str, list[str]]
    mark: str

    @classmethod
    def of(cls, finished: Finished) -> Measures | None:
        """Look what there is; None where documents are not counted in tokens, or the tokenizer is not made yet.

        Raises:
            DataError: the tokenizer's file is gone.
        """
        run = finished.run
        if run.recipe.tokenizer is None or not finished.is_done("tokenizer"):
            return None
        if run.folder.stat(layout.TOKENIZER) is None:
            raise DataError(f"{run.folder.url}/{layout.TOKENIZER}: gone. Run the recipe again; it is made anew.")
        base = kept.ids_base(finished.process, ids_digest(finished.process, finished.artifacts))
        names = [(entry.name, entry.size) for entry in run.folder.list(base)]
        found: dict[str, dict[str, list[str]]] = {}
        for name, _ in names:
            stem, _, ending = name.rpartition(".")
            if ending == "json":
                shard = stem.rpartition("/")[0].removeprefix(f"{base}/")
                found.setdefault(shard, {}).setdefault(stem.rpartition("-")[2], []).append(stem)
        stems = {shard: max(seeds.values(), key=len) for shard, seeds in found.items()}
        manifest = read_manifest(run.folder, "mix")
        selected = manifest is not None and _measured_alike(finished, manifest)
        mark = digest([base, names, manifest["shards"]["sha256"] if manifest and selected else ""])
        return cls(finished, selected, stems, mark)

    def group(self, source: SourceRows) -> Group:
        """`tokens` of a source's documents, UNKNOWN where nothing has measured them."""

        def make(block: Block, columns: Sequence[str]) -> pa.Table:
            return pa.table({"tokens": self._counts(block)})

        return Group(source, ["tokens", self.mark], make)

    def _counts(self, block: Block) -> NDArray[np.int64]:
        folder, shards = self.finished.run.folder, block.shards
        counts = [np.full(shard.rows, UNKNOWN, np.int64) for shard in shards]
        known = [0] * len(shards)
        if self.selected:
            tables = read_shards(folder, [layout.selected(shard.name) for shard in shards], ["row", "tokens"])
            for number, table in enumerate(tables):
                counts[number][table.column("row").to_numpy()] = table.column("tokens").to_numpy()
                known[number] = table.num_rows
        for shard, tokens, num_known in zip(shards, counts, known, strict=True):
            stems = self.stems.get(kept.content_of(shard), [])
            if sum(int(orjson.loads(folder.read(f"{stem}.json"))["rows"]) for stem in stems) > num_known:
                with kept.KeptIds(folder, stems) as ids:
                    found = ids.num_tokens()
                    tokens[ids.column("row")] = np.where(found > 0, found + 1, 0)
        return np.concatenate(counts)


def _measured_alike(finished: Finished, manifest: Mapping[str, Any]) -> bool:
    """Whether a finished mix, whatever its rules and budget, counted tokens as the recipe would."""
    run, artifacts = finished.run, finished.artifacts
    needs = manifest.get("needs", {})
    names = ["index", "tokenizer", *(f"attributes/{column}" for column in edit_columns(finished.process))]
    if needs.get("shards.jsonl") != run.shards_digest:
        return False
    if any(name in artifacts and needs.get(name) != artifacts[name].digest for name in names):
        return False
    mine = artifacts["mix"]
    if manifest["config"].get("mix.replace") != mine.settings()["config"].get("mix.replace"):
        return False
    before, now = manifest.get("source_config", {}), mine.settings()["source_config"]
    return all(
        before.get(source, {}).get(key) == now.get(source, {}).get(key)
        for source in finished.sources
        for key in (
            f"mix.sources.{source}.remove",
            f"mix.sources.{source}.replace",
            f"sources.{source}.attributes",
        )
    )


def same_edits(before: Recipe, after: Recipe, source: str) -> bool:
    """Whether a source's texts are edited alike in two recipes."""
    return edits_of(mix_config(before), source) == edits_of(mix_config(after), source)
