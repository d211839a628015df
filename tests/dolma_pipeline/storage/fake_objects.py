"""What the stores of tests hold, and how requests to them go wrong."""

from __future__ import annotations

import hashlib
import random
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

KEY_ID, SECRET = "dummy-key-id", "dummy-secret-that-no-file-may-hold"


class Stored(NamedTuple):
    """An object. generation: another number for every writing. metadata: headers that come back with it."""

    content: bytes
    etag: str
    generation: int
    seconds: float
    metadata: Mapping[str, str]


@dataclass
class Faults:
    """Shares of requests that go wrong, drawn with a seed. Of dropped ones, half are carried out before."""

    seed: int
    busy: float = 0.1
    dropped: float = 0.05
    cut: float = 0.05

    def __post_init__(self) -> None:
        self._rng, self._lock = random.Random(self.seed), threading.Lock()
        self.seen: Counter[str] = Counter()

    def draw(self) -> str:
        """What happens to the next request: `busy`, `dropped`, `lost` (done, but not answered), `cut`, or nothing."""
        with self._lock:
            at = self._rng.random()
            kinds = (("busy", self.busy), ("dropped", self.dropped / 2), ("lost", self.dropped / 2), ("cut", self.cut))
            for kind, share in kinds:
                if at < share:
                    self.seen[kind] += 1
                    return kind
                at -= share
        return ""


@dataclass
class Objects:
    """What a store holds: bucket -> key -> object. uploads: id -> bucket, key, metadata, number or id -> part."""

    buckets: dict[str, dict[str, Stored]] = field(default_factory=dict)
    uploads: dict[str, tuple[str, str, Mapping[str, str], dict[int | str, bytes]]] = field(default_factory=dict)
    faults: Faults | None = None
    refusal: tuple[int, str] | None = None
    refuses: str = ""
    ignores_conditions: bool = False
    asked: Counter[str] = field(default_factory=Counter)
    lock: threading.RLock = field(default_factory=threading.RLock)
    writings: int = 0

    def put(self, bucket: str, key: str, content: bytes, metadata: Mapping[str, str], etag: str = "") -> Stored:
        """Store an object; S3's tag of a whole upload is the MD5 of its bytes: equal bytes have equal tags."""
        with self.lock:
            self.writings += 1
            etag = etag or hashlib.md5(content).hexdigest()
            stored = Stored(content, f'"{etag}"', self.writings, time.time(), metadata)
            self.buckets[bucket][key] = stored
            return stored


class Refused(Exception):
    """An answer other than success."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.status, self.code = status, code
