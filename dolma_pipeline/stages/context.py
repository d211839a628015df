"""What every step of a run knows: the recipe, the run's folder, the user's modules. Small enough to travel.

The layout of a run's folder (contracts: docs/data-formats.md) is decided here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

import orjson

from dolma_pipeline import assets
from dolma_pipeline.config.recipe import Recipe, TaggerConfig
from dolma_pipeline.errors import UnknownNameError
from dolma_pipeline.io import paths
from dolma_pipeline.io.documents import ShardReader
from dolma_pipeline.io.jsonl import Failure
from dolma_pipeline.io.manifest import Records
from dolma_pipeline.io.shards import Shard, read_shards
from dolma_pipeline.registry import UserModule, install_modules, load_tagger
from dolma_pipeline.tagging import LoadedTagger


@dataclass(frozen=True)
class RunContext:
    """A run, as its steps see it.

    recipe: what to do. folder: the run's own folder, absolute. modules: the user's tagger files, as text.
    attempt: a name that the launcher draws for each start of a run, when the list of shards is written; "": none.
    """

    recipe: Recipe
    folder: str
    modules: tuple[UserModule, ...] = ()
    attempt: str = ""

    def __hash__(self) -> int:
        return hash((self.folder, self.attempt))

    @property
    def path(self) -> Path:
        """The run's folder."""
        return Path(self.folder)

    @property
    def fingerprint(self) -> tuple[object, ...]:
        """Equal for equal recipes, modules and shards in the same folder: the key of what is kept in a process."""
        return self.folder, repr(self.recipe), tuple(m.sha256 for m in self.modules), self.version(self.shards_path)

    @property
    def shards_path(self) -> Path:
        """The run's list of shards."""
        return self.path / "shards.jsonl"

    def version(self, path: Path) -> str:
        """Which content of a finished file of the run is meant: the key under which a process keeps what is in it.

        Within one attempt it does not change once it is there, so the attempt tells; else its hash does. A time of
        change does not: two contents may share one.
        """
        return self.attempt or paths.sha256_file(path)

    @property
    def sql_bytes(self) -> int:
        """DuckDB's share of `max_memory`: a quarter, 250 MB at least."""
        return max(250_000_000, self.recipe.max_memory // 4)

    def prepare(self) -> None:
        """Once a process, before any work: the run's models and the user's modules; cheap when repeated."""
        assets.use_folder(self.path / "assets")
        install_modules(self.modules)

    def shards(self) -> list[Shard]:
        """The run's shards, sorted by name."""
        return list(_shards(self.shards_path, self.version(self.shards_path)))

    def shard(self, name: str) -> Shard:
        """The shard of a name."""
        by_name = _shards_by_name(self.shards_path, self.version(self.shards_path))
        if name not in by_name:
            raise UnknownNameError("shard", name, by_name)
        return by_name[name]

    def read(self, shard: Shard, failures: Failures) -> ShardReader:
        """The documents of a shard, as every stage reads them."""
        source = self.recipe.sources[shard.source]
        return ShardReader(shard, report=failures.add, fields=source.fields, normalize=self.recipe.normalize)

    def attribute_folder(self, label: str) -> Path:
        """Where the attribute `label` is, a file a shard."""
        return self.path / "attributes" / label

    def attribute_path(self, label: str, shard: str, *, format: str = "parquet") -> Path:
        """The attribute file of a shard."""
        return self.attribute_folder(label) / f"{shard}{'.parquet' if format == 'parquet' else '.jsonl.gz'}"

    def records(self, unit: str) -> Records:
        """The done records of a unit, such as `attributes/gopher_v1`."""
        return Records(self.path / unit)

    def work_records(self, unit: str, step: str) -> Records:
        """The done records of a step whose files only later steps of the unit need; they go with its work."""
        return Records(self.path / unit / ".work" / step, files=self.path / unit)

    def tagger(self, use: TaggerConfig) -> LoadedTagger:
        """A tagger as the recipe uses it; one object a process, so that it sets itself up once."""
        key = (use.tagger, use.name, repr(sorted(use.parameters.items())), self.modules)
        if key not in _TAGGERS:
            _TAGGERS[key] = load_tagger(use.tagger, **use.parameters).named(use.name)
        return _TAGGERS[key]


_TAGGERS: dict[tuple[object, ...], LoadedTagger] = {}


@lru_cache(maxsize=2)
def _shards(path: Path, version: str) -> tuple[Shard, ...]:
    return tuple(read_shards(path))


@lru_cache(maxsize=2)
def _shards_by_name(path: Path, version: str) -> Mapping[str, Shard]:
    return {shard.name: shard for shard in _shards(path, version)}


class Failures:
    """Documents of one shard that a stage could not read or tag, kept until the shard is done."""

    def __init__(self, context: RunContext, stage: str, shard: Shard) -> None:
        self.path = context.path / "failed" / stage / f"{shard.name}.jsonl"
        self.found: list[Failure] = []

    def add(self, failure: Failure) -> None:
        """Note one."""
        self.found.append(failure)

    def __len__(self) -> int:
        return len(self.found)

    def commit(self, *, others: Sequence[str] = ()) -> None:
        """Write them in the order of the input. No file is written if there are none: the done record's count says so,
        and the launcher takes away what an earlier try left.

        others: taggers that have done the shard before; what they left in the file stays.
        """
        found = [*self.found, *self._of(others)]
        if found:
            found.sort(key=lambda one: (one.line or 0, one.row or 0, one.byte or 0, one.reason))
            paths.write_bytes(self.path, b"".join(_without_nulls(failure) for failure in found))

    def _of(self, taggers: Sequence[str]) -> list[Failure]:
        if not taggers or not self.path.is_file():
            return []
        starts = tuple(f"{tagger}: " for tagger in taggers)
        found = [Failure(**orjson.loads(line)) for line in self.path.read_bytes().splitlines()]
        return [one for one in found if one.row is not None and one.reason.startswith(starts)]


def _without_nulls(failure: Failure) -> bytes:
    known = {key: value for key, value in asdict(failure).items() if value is not None and value is not False}
    return orjson.dumps(known, option=orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)


def sources_of(shards: Sequence[Shard]) -> list[str]:
    """The sources that have shards, sorted."""
    return sorted({shard.source for shard in shards})
