"""Files that a run has read and that need not be there any more (`sources.NAME.gone`): which of a source's they are.

A file is told by its name alone. Nothing looks whether it is there, so that all workers say the same at all times.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from dolma_pipeline.errors import UsageError
from dolma_pipeline.io import paths
from dolma_pipeline.storage.inputs import NO_SETTINGS


class Gone:
    """Tells which files of a source `gone` names; call it with `Found.relative`, or with a shard's path.

    Args:
        patterns: of `gone`. documents: patterns of the source; a file's path is below the fixed prefix of one of them.
        settings: of object stores.

    Raises:
        UsageError: a list of files, which says nothing of files that are not there.
    """

    def __init__(
        self, patterns: Sequence[str], documents: Sequence[str], settings: Mapping[str, str] = NO_SETTINGS
    ) -> None:
        if lists := [one for one in patterns if one.startswith("@")]:
            raise UsageError(f"{lists[0]}: a list of files cannot be given here. Write the paths, or patterns of them.")
        self._patterns, self._documents = patterns, documents
        where = documents if patterns else ()
        self._prefixes = list(dict.fromkeys(paths.fixed_prefix(one, settings) for one in where))

    def __call__(self, relative: str) -> bool:
        """Whether the file is named; relative: its path, as the list of shards has it."""
        return any(self.naming(relative))

    def check(self, found: Iterable[paths.Found]) -> None:
        """Hold the files that are there against what is gone.

        Raises:
            UsageError: the path of one cannot be told from that of a file that is gone.
        """
        for one in found:
            if self(one.relative) and not any(paths.is_named(one.path, pattern) for pattern in self._patterns):
                raise UsageError(
                    f"{one.path}: is not named, but its path below its pattern is that of a file which is. Give "
                    "files of different folders to different sources."
                )

    def naming(self, relative: str) -> list[bool]:
        """Of each pattern whether it names the file."""
        return self._naming(relative, self._patterns)

    def emptied(self, files: Iterable[str]) -> set[str]:
        """The patterns of the source that would find files that are gone, so that they may find nothing.

        Args:
            files: paths, as the list of shards has them.
        """
        found: set[str] = set()
        for relative in filter(self, files):
            named = self._naming(relative, self._documents)
            found.update(one for one, is_named in zip(self._documents, named, strict=True) if is_named)
        return found

    def _naming(self, relative: str, patterns: Sequence[str]) -> list[bool]:
        places = [relative if prefix is None else f"{prefix}{relative}" for prefix in self._prefixes]
        return [any(paths.is_named(place, pattern) for place in places) for pattern in patterns]
