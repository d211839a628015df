"""`explain`: one document of a finished run: its attributes, its rules, its copies; and why it is one of a copy.

Of a duplicate: the document that stays, both texts word by word, how like they are, counted anew from the texts, and
the bands in which their signatures met. Reads the files of one or two shards, and their texts up to the documents.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from dolma_pipeline.config.recipe import DedupeStepConfig, Recipe
from dolma_pipeline.documents import Batch
from dolma_pipeline.errors import DataError, UnknownNameError, UsageError
from dolma_pipeline.io.tables import get_table
from dolma_pipeline.look.folder import Finished, finished
from dolma_pipeline.run import layout
from dolma_pipeline.run.columns import INDEX, attribute_types, read_block, read_index
from dolma_pipeline.run.fetch import split_origin, texts_of
from dolma_pipeline.run.process import Process
from dolma_pipeline.run.shards import Block, ShardAt, indexed
from dolma_pipeline.stages.mix.decide import read_verdict_bits
from dolma_pipeline.stages.rules import mix_config, source_rules, where_of

_HASHES = ("hash_hi", "hash_lo", "row")


@dataclass(frozen=True)
class Copy:
    """Why a document is a copy of another one.

    step, kind: of the dedupe step that does not keep it. origin: of the document that stays. stored: the likeness that
    the run has, None where it was judged by estimate. jaccard, contained: of the sets of shingles, counted anew;
    contained: the share of the document's own shingles that the one that stays has; None where the step has no
    shingles. bands: those in which both signatures are equal, from 0; same_words: both have the same folded words.
    size: of the cluster. texts: of the one that stays, and of the document; None where the file of one is gone, and
    with it jaccard and contained.
    """

    step: str
    kind: str
    origin: str
    stored: float | None
    size: int
    texts: tuple[str, str] | None = field(repr=False)
    jaccard: float | None = None
    contained: float | None = None
    bands: tuple[int, ...] | None = None
    num_bands: int | None = None
    same_words: bool | None = None


@dataclass(frozen=True)
class Explained:
    """A document.

    index: what is known beside its text. attributes: label -> field -> value, None where a tagger failed; those of
    dedupe steps are in `dedupe`. rules: rule -> its SQL, and what it says: passed, failed, unknown (NULL). passes: all
    of them.
    """

    origin: str
    index: Mapping[str, Any]
    attributes: Mapping[str, Mapping[str, Any] | None]
    rules: Mapping[str, Mapping[str, str]]
    passes: bool
    dedupe: Mapping[str, Mapping[str, Any]]
    copy: Copy | None

    def record(self) -> dict[str, Any]:
        """As JSON."""
        copy = self.copy
        return {
            "origin": self.origin,
            "index": dict(self.index),
            "attributes": dict(self.attributes),
            "rules": dict(self.rules),
            "passes": self.passes,
            "dedupe": dict(self.dedupe),
            "copy": None
            if copy is None
            else {
                **vars(copy),
                "texts": None if copy.texts is None else dict(zip(("stays", "goes"), copy.texts, strict=True)),
            },
        }


def explain(recipe: Recipe, name: str) -> Explained:
    """What a run knows of one document.

    Args:
        recipe: of the run. name: an origin, `source/path#row`, or an id that one document alone has.

    Raises:
        UsageError: nothing was run there, or not as far as the rules, or several documents have this id.
        UnknownNameError: no document of that name; says what is near.
        DataError: files that do not belong together.
    """
    found = finished(recipe)
    try:
        return _explained(found, *_document(found, name))
    finally:
        Process.leave()  # the next look may find other files behind the same names


def _document(found: Finished, name: str) -> tuple[ShardAt, int]:
    """Shard and row of an origin or id."""
    shards = {shard.name: shard for shard in indexed(found.run)}
    try:
        place, row = split_origin(name)
    except DataError:
        place, row = "", 0
    if place in shards:
        shard = shards[place]
        if row >= shard.rows:
            rows = f"rows 0 to {shard.rows - 1:,}" if shard.rows else "no documents"
            raise UsageError(f"{name}: no such document; {place} has {rows}.")
        return shard, row
    having = []
    for shard in shards.values():
        ids = read_index(found.run, shard, ["id"]).column("id")
        having += [(shard, row) for row in pc.indices_nonzero(pc.equal(ids, name).fill_null(False)).to_pylist()]
    if len(having) == 1:
        return having[0]
    if having:
        some = ", ".join(f"{shard.name}#{row}" for shard, row in having[:5])
        more = f" and {len(having) - 5:,} more" if len(having) > 5 else ""
        raise UsageError(f"{len(having):,} documents have the id '{name}': {some}{more}. Give the origin of one.")
    if place:
        raise UnknownNameError("shard", place, shards, hint="An origin is source/path#row.")
    example = next((shard.name for shard in shards.values() if shard.rows), "source/path")
    raise UsageError(f"'{name}' is neither an origin, such as {example}#0, nor the id of a document of this run.")


def _explained(found: Finished, shard: ShardAt, row: int) -> Explained:
    process, recipe = found.process, found.run.recipe
    types, steps = attribute_types(process, shard.source), recipe.dedupe.steps if recipe.dedupe else ()
    wanted: dict[str, None] = dict.fromkeys(types)
    block = Block(shard.name, (shard,))
    (values,) = read_block(process, block, index=set(INDEX.names), wanted=wanted).slice(row, 1).to_pylist()
    names = source_rules(process, shard.source).names
    failed, unknown = read_verdict_bits(found.run, shard, names)
    sql = where_of(mix_config(recipe), shard.source)
    rules = {
        rule: {
            "sql": sql.get(rule, ""),
            "says": "unknown" if unknown[i, row] else "failed" if failed[i, row] else "passed",
        }
        for i, rule in enumerate(names)
    }
    dedupe = {step.name: values[step.name] for step in steps}
    origin = f"{shard.name}#{row}"  # where no copy may stay, the first of them is of its own cluster
    elects = [step for step in steps if "cluster" in dedupe[step.name]]  # other kinds mark documents by themselves
    away = next((s for s in elects if not dedupe[s.name]["keep"] and dedupe[s.name]["cluster"] != origin), None)
    index = {name: values[name] for name in INDEX.names if name not in _HASHES}
    return Explained(
        origin=origin,
        index=index | {"metadata": orjson.loads(index["metadata"] or "{}")},
        attributes={label: values[label] for label in types if label not in dedupe},
        rules=rules,
        passes=not failed[:, row].any(),
        dedupe=dedupe,
        copy=None if away is None else _copy(process, away, shard, row, dedupe[away.name]),
    )


def _copy(process: Process, step: DedupeStepConfig, shard: ShardAt, row: int, marks: Mapping[str, Any]) -> Copy:
    """What there is to see of a copy and the document that stays."""
    place, stays = split_origin(marks["cluster"])
    keeper = next((one for one in indexed(process.run) if one.name == place), None)
    if keeper is None:
        raise DataError(f"{shard.name}#{row}: is marked as a copy of {marks['cluster']}, which is not in this run.")
    texts = None
    if not (keeper.gone or shard.gone):
        texts = (_text(process, keeper, stays), _text(process, shard, row))
    plain = Copy(step.name, step.kind, marks["cluster"], marks["jaccard"], marks["size"], texts)
    if step.kind != "minhash":
        return plain
    jaccard = contained = None
    if texts is not None:
        jaccard, contained = (_likeness(texts, step, containment=containment) for containment in (False, True))
    own, other = _signature(process, step, shard, row), _signature(process, step, keeper, stays)
    met = np.flatnonzero(own[0] == other[0])
    return replace(
        plain,
        jaccard=jaccard,
        contained=contained,
        bands=tuple(met.tolist()),
        num_bands=len(own[0]),
        same_words=own[1] == other[1],
    )


def _text(process: Process, shard: ShardAt, row: int) -> str:
    found = texts_of(process, shard, np.array([row], np.int64)).to_pylist()
    if not found:
        raise DataError(
            f"{shard.name}#{row}: its text is not there any more: the input has fewer documents than it had."
        )
    return str(found[0])


def _likeness(texts: tuple[str, str], step: DedupeStepConfig, *, containment: bool) -> float:
    """Of the texts' sets of shingles; the first is the one that stays."""
    from dolma_pipeline.dedup.minhash import shingle_sets
    from dolma_pipeline.kernels.sets import compare

    sets = shingle_sets(Batch.of(list(texts)).text, shingle=step.shingle)
    one = np.zeros(1, np.int64)
    return float(compare(sets.values, sets.starts, sets.cut, one, one + 1, containment=containment)[0])


def _signature(process: Process, step: DedupeStepConfig, shard: ShardAt, row: int) -> tuple[NDArray[np.uint64], Any]:
    """Keys of a document's bands, and the hash of its words."""
    table = get_table(process.run.folder, layout.signatures(step.name, shard.name))
    bands = sorted(name.removeprefix("key_") for name in table.column_names if name.startswith("key_"))
    keys = []
    for band in bands:
        at = _only(pc.indices_nonzero(pc.equal(table.column(f"row_{band}"), row)), shard, row)
        keys.append(table.column(f"key_{band}")[at].as_py())
    at = _only(pc.indices_nonzero(pc.equal(table.column("row"), row)), shard, row)
    return np.array(keys, np.uint64), tuple(table.column(name)[at].as_py() for name in ("same_hi", "same_lo"))


def _only(places: pa.Array, shard: ShardAt, row: int) -> int:
    if len(places) != 1:
        raise DataError(
            f"{shard.name}#{row}: has {len(places)} signatures; expected one. Make them again: dedupe --redo."
        )
    return int(places[0].as_py())
