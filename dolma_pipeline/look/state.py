"""A finished folder with all that is asked of it, loaded: sizes, keys, clusters and verdicts of every document.

In memory: ~60 bytes a document and a byte for each rule.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from dolma_pipeline.config.recipe import Recipe
from dolma_pipeline.look.asking import SourceVerdicts, made_verdicts
from dolma_pipeline.look.choice import Documents
from dolma_pipeline.look.clusters import Clusters
from dolma_pipeline.look.columns import Columns
from dolma_pipeline.look.folder import Finished, finished
from dolma_pipeline.look.groups import Groups, keys_of
from dolma_pipeline.look.measured import UNKNOWN, Measures, Tokens, ratio_of, same_edits
from dolma_pipeline.look.table import Table
from dolma_pipeline.run.process import Process
from dolma_pipeline.stages.rules import source_rules


@dataclass(frozen=True)
class State:
    """What is known of a folder's documents; a context manager.

    columns, verdicts, edited, tokens: by source; edited: code points of edited texts, None where nobody counted.
    """

    finished: Finished
    columns: Mapping[str, Columns]
    verdicts: Mapping[str, SourceVerdicts]
    edited: Mapping[str, NDArray[np.int64] | None]
    sizes: Mapping[str, NDArray[np.int64]]
    tokens: Mapping[str, Tokens]

    @classmethod
    def of(cls, recipe: Recipe) -> State:
        """Load a recipe's folder; what the table lacks is made.

        Raises:
            UsageError: it is not finished as far as the verdicts.
        """
        found = finished(recipe)
        table = Table(found.run.folder)
        columns = {name: Columns(table, Groups(found, source)) for name, source in found.sources.items()}
        verdicts, edited = {}, {}
        for name, one in columns.items():
            verdicts[name], edited[name] = made_verdicts(found, one)
        sizes = {
            name: table.columns(one.groups.index(), ["bytes"]).column("bytes").to_numpy()
            for name, one in columns.items()
        }
        return cls(found, columns, verdicts, edited, sizes, _tokens(found, table, sizes))

    def __enter__(self) -> State:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing of the folder is kept: the next look may find other files behind the same names."""
        Process.leave()

    @cached_property
    def clusters(self) -> Clusters:
        """Duplicates, as the run found them."""
        return Clusters.of(self.finished, self.columns)

    @cached_property
    def early(self) -> NDArray[np.bool_]:
        """Which documents pass the folder's rules that name no dedupe step, by number."""
        found = {}
        for name, one in self.verdicts.items():
            late = source_rules(self.finished.process, name).late
            found[name] = one.passes_some([rule for rule in one.rules if rule not in late])
        return self.by_number(found)

    def by_number(self, parts: Mapping[str, NDArray[np.bool_]]) -> NDArray[np.bool_]:
        """Something of every document, by number, from its parts by source."""
        ordered = sorted(self.finished.sources.values(), key=lambda one: one.first)
        return np.concatenate([np.zeros(0, np.bool_), *(parts[one.name] for one in ordered)])

    def keys(
        self, seed: int, *, early: NDArray[np.bool_] | None = None
    ) -> dict[str, tuple[NDArray[np.uint64], NDArray[np.uint64]]]:
        """Sampling keys and held-out keys of the documents of each source; of another seed they are computed.

        early: which documents pass the rules that name no dedupe step, by number; default those of the folder.
        """
        ordered = sorted(self.finished.sources.values(), key=lambda one: one.first)
        own = []
        for source in ordered:
            if seed == self.finished.run.recipe.seed:
                groups = self.columns[source.name].groups
                table = self.columns[source.name].table.columns(groups.keys(), ["key", "held_key"])
                own.append((table.column("key").to_numpy(), table.column("held_key").to_numpy()))
            else:
                parts = [[keys_of(block, seed, name) for block in source.blocks] for name in ("key", "held_key")]
                own.append((np.concatenate(parts[0]), np.concatenate(parts[1])))
        held = self.clusters.held_keys(
            np.concatenate([held for _, held in own]), self.early if early is None else early
        )
        return {
            source.name: (keys, held[source.first : source.first + source.rows])
            for source, (keys, _) in zip(ordered, own, strict=True)
        }

    def documents(
        self,
        recipe: Recipe,
        passes: Mapping[str, NDArray[np.bool_]],
        *,
        early: NDArray[np.bool_] | None = None,
        retrained: bool = False,
    ) -> dict[str, Documents]:
        """All documents with their sizes under a recipe; passes: by source. early: as of `keys`. retrained: the
        tokenizer is another."""
        keys = self.keys(recipe.seed, early=early)
        found = {}
        for name, tokens in self.tokens.items():
            counted = recipe.tokenizer is not None and tokens.ratio is not None
            known = tokens.known
            if retrained or not same_edits(self.finished.run.recipe, recipe, name):
                known = np.zeros(len(known), np.bool_)
            counts = tokens.estimated(self.sizes[name]) if counted else None
            found[name] = Documents(passes[name], *keys[name], self.sizes[name], counts, known)
        return found


def _tokens(found: Finished, table: Table, sizes: Mapping[str, NDArray[np.int64]]) -> dict[str, Tokens]:
    measures = Measures.of(found)
    counts = {
        name: table.columns(measures.group(source), ["tokens"]).column("tokens").to_numpy()
        if measures
        else np.full(source.rows, UNKNOWN, np.int64)
        for name, source in found.sources.items()
    }
    overall = ratio_of([(counts[name], sizes[name]) for name in counts])
    return {name: Tokens(own, ratio_of([(own, sizes[name])]) or overall) for name, own in counts.items()}
