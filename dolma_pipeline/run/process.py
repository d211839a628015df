"""What one worker process keeps: one slot, for one run at a time. Nothing that is kept outlives it.

Taggers, bound rules, encoders and small tables are made once a process and kept under keys that say what they are
made of, never under a time. When the process gets work of another run (another recipe, other shards), all goes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Any, ClassVar, TypeVar, cast

from dolma_pipeline.config.recipe import TaggerConfig
from dolma_pipeline.registry import install_modules, load_tagger
from dolma_pipeline.run.log import LogSegments
from dolma_pipeline.run.run import Run
from dolma_pipeline.storage.scratch import Scratch
from dolma_pipeline.tagging import LoadedTagger

T = TypeVar("T")


class Process:
    """A run's place in this process.

    Attributes:
        run: the run. scratch: disk space of this process. log: its segments of the run's logs.
    """

    _current: ClassVar[Process | None] = None
    lock: ClassVar[threading.RLock] = threading.RLock()
    """Held while a task is worked on: processes give the parallelism, not threads."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.scratch = Scratch()
        self.log = LogSegments(run)
        self._kept: dict[Hashable, Any] = {}

    @classmethod
    def of(cls, run: Run) -> Process:
        """The slot of this process, for this run; whatever another run left in it goes."""
        with cls.lock:
            current = cls._current
            if current is None or current.run.digest != run.digest:
                if current is not None:
                    current.close()
                current = cls._current = cls(run)
                current._prepare()
            current.run = run  # equal but for the object that its folder is
            return current

    @classmethod
    def current(cls, run: Run) -> Process | None:
        """The slot as it is, if it is this run's."""
        current = cls._current
        return current if current is not None and current.run.digest == run.digest else None

    @classmethod
    def leave(cls) -> None:
        """Give up what is kept; the next work begins anew."""
        with cls.lock:
            if cls._current is not None:
                cls._current.close()
                cls._current = None

    def _prepare(self) -> None:
        from dolma_pipeline import assets
        from dolma_pipeline.run import layout

        place = self.run.folder.local_path()
        if place is not None and (place / layout.ASSETS).is_dir():
            assets.use_folder(place / layout.ASSETS)
        install_modules(self.run.modules)

    def kept(self, key: Hashable, make: Callable[[], T]) -> T:
        """What `make` gives, made once for this key."""
        if key not in self._kept:
            self._kept[key] = make()
        return cast(T, self._kept[key])

    def kept_of(self, kind: str) -> dict[tuple[Any, ...], Any]:
        """What is kept under keys that begin with `kind`, by the rest of their keys."""
        return {key[1:]: value for key, value in self._kept.items() if isinstance(key, tuple) and key[0] == kind}

    def tagger(self, use: TaggerConfig) -> LoadedTagger:
        """A tagger as the recipe uses it; one object a process, so that it sets itself up once."""
        key = ("tagger", use.tagger, use.name, repr(sorted(use.parameters.items())))
        return self.kept(key, lambda: load_tagger(use.tagger, **use.parameters).named(use.name))

    def close(self) -> None:
        """Let go of everything."""
        self._kept.clear()
        self.log.close()
        self.scratch.close()
