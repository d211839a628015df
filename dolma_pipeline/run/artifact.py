"""An artifact: what is made or redone as a whole, with one manifest.

Its digest says what its bytes depend on: values of recipe keys, hashes of files, and the digests of the artifacts
that it needs. What concerns one source alone is kept apart, so a new source never makes another's work stale.
Digest, difference and message of changed settings all come from `reads`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from dolma_pipeline.io.manifest import canonical, digest

__all__ = ["Artifact", "canonical", "digest"]

EARLIER = "earlier"
"""The key of a manifest that tells of earlier documents whose verdicts were kept (`Artifact.remembers`)."""


@dataclass(frozen=True)
class Artifact:
    """A folder of the run, or a removable one in its cache.

    Args:
        name: such as `attributes/gopher_v1`; of the folder, too, unless `cache`.
        stage: the stage whose command makes it, such as `tag`.
        reads: recipe key -> value, for keys that concern all sources. Keys are those that a user would change
            (`mix.where.words`); a value is plain JSON, tuples are lists.
        source_reads: source -> recipe key -> value, for what concerns that source alone.
        files: what beside the recipe its bytes depend on, name -> sha256 (models, user files, formats' numbers).
        needs: the artifacts that it is made from.
        growing: new shards are added to what is done; else they make it again. So does whatever is made of something
            that does not grow: an election over more documents may say otherwise of the earlier ones (`grows`).
        remembers: of one that is growing: what it says of a shard depends on which others were there then, and is kept.
            So unfinished work holds for its very list of shards, and its files alone tell what was decided.
        cache: it may be removed; it lies in `cache/<name>/<digest>`, so one of other settings does not replace it.
        root: folder that its records' output paths start at; default its own folder.
        owns: files and folders that are its own, where it shares its folder with another artifact.
        texts: folders among those that it owns with a file `<shard>.jsonl.zst` of a shard's documents. Of shards whose
            input is gone (`sources.NAME.gone`) these are the texts, so they stay there until they are written anew.
        sources: of the recipe; named by the index, from which the others have them.
    """

    name: str
    stage: str
    reads: Mapping[str, Any] = field(default_factory=dict)
    source_reads: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    needs: tuple[Artifact, ...] = ()
    growing: bool = False
    remembers: bool = False
    cache: bool = False
    root: str = ""
    owns: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()

    @cached_property
    def digest(self) -> str:
        """Of all that concerns every source."""
        needs = {need.name: need.digest for need in self.needs}
        return digest(
            {"stage": self.stage, "name": self.name, "reads": self.reads, "files": self.files, "needs": needs}
        )

    @cached_property
    def grows(self) -> bool:
        """Whether what is done of earlier shards holds when others are added."""
        return self.growing and all(need.grows for need in self.needs)

    @cached_property
    def all_sources(self) -> tuple[str, ...]:
        """The recipe's sources, where it is made from documents at all; sorted."""
        return tuple(sorted({*self.sources, *self.source_reads, *(s for need in self.needs for s in need.all_sources)}))

    @cached_property
    def source_digests(self) -> dict[str, str]:
        """Of what concerns one source alone, here or in what is needed: a digest for every source."""
        return {
            source: digest(
                [self.source_reads.get(source, {}), {n.name: n.source_digests.get(source) for n in self.needs}]
            )
            for source in self.all_sources
        }

    @cached_property
    def whole_digest(self) -> str:
        """Of everything: names a cache's folder and a phase's records."""
        return digest([self.digest, self.source_digests])

    def is_like(self, made: Mapping[str, Any] | None) -> bool:
        """Whether what was made has these settings, as far as the sources go that it was made for.

        Args:
            made: `settings`, or a manifest; None: nothing was made.
        """
        if made is None or made.get("digest") != self.digest:
            return False
        before = made.get("source_digests", {})
        return all(self.source_digests.get(source, found) == found for source, found in before.items())

    def holds(self, made: Mapping[str, Any] | None, shards_digest: str) -> bool:
        """Whether work that was made so counts in a run over these shards: with these settings, and, unless new shards
        are added to what is done, for this very list of them.

        Args:
            made: as `settings` gives it with the digest of a list of shards, or a manifest.
        """
        return self.is_like(made) and (self.grows or made_for(made) == shards_digest)

    def holds_begun(self, made: Mapping[str, Any] | None, shards_digest: str) -> bool:
        """The same of work that was not finished."""
        return self.holds(made, shards_digest) and (not self.remembers or made_for(made) == shards_digest)

    def forgets(self, made: Mapping[str, Any] | None) -> bool:
        """Whether what was made has kept verdicts of earlier runs, and this would decide them anew."""
        return not self.remembers and EARLIER in (made or {})

    @property
    def folder(self) -> str:
        """Where its manifest is."""
        from dolma_pipeline.run import layout

        return layout.cache(self.name, self.whole_digest) if self.cache else self.name

    @property
    def owned(self) -> tuple[str, ...]:
        """Files and folders that go when it is made again; its failures too."""
        from dolma_pipeline.run import layout

        return (*(self.owns or (self.folder,)), f"{layout.FAILED}/{self.name}")

    @property
    def output_root(self) -> str:
        """Where the paths of its outputs start."""
        return self.root or self.folder

    def settings(self, shards_digest: str = "") -> dict[str, Any]:
        """What a manifest says of it: stage, digests, config (recipe keys) and needs.

        Args:
            shards_digest: of the run's list of shards, which then stands among the needs.
        """
        needs = {need.name: need.digest for need in self.needs}
        return {
            "stage": self.stage,
            "digest": self.digest,
            "source_digests": self.source_digests,
            "config": _plain(self.reads),
            "source_config": {name: _plain(reads) for name, reads in sorted(self.source_reads.items()) if reads},
            "files": dict(self.files),
            "needs": {**needs, "shards.jsonl": shards_digest} if shards_digest else needs,
        }


def made_for(made: Mapping[str, Any] | None) -> str:
    """The digest of the list of shards that work was made for; "" if it does not say."""
    found: str = (made or {}).get("needs", {}).get("shards.jsonl", "")
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return value
