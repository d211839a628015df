"""What a run in this process has read and encoded: bytes of text that pass readers and encoders, by every way.

The same counters fit both states of the program. Workers' own processes are not seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any


class Counted:
    """Counts from when it is made. read, encoded: bytes of text."""

    def __init__(self) -> None:
        from dolma_pipeline.io.documents import ShardReader
        from dolma_pipeline.tokens import encode

        self.read = self.encoded = 0
        self._checking = 0
        vars_of: Any = ShardReader
        vars_of.__iter__ = self._reading(vars_of.__iter__)
        for kind in (encode.GigatokenEncoder, encode.TokenizersEncoder):
            some: Any = kind
            some.encode, some.check = self._encoding(some.encode), self._unseen(some.check)

    def _reading(self, batches: Callable[[Any], Iterator[Any]]) -> Callable[[Any], Iterator[Any]]:
        @wraps(batches)
        def counted(reader: Any) -> Iterator[Any]:
            for batch in batches(reader):
                self.read += int(batch.text.offsets[-1] - batch.text.offsets[0])
                yield batch

        return counted

    def _encoding(self, encode: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        @wraps(encode)
        def counted(encoder: Any, texts: Any) -> Any:
            if not self._checking:
                import pyarrow.compute as pc

                self.encoded += int(pc.sum(pc.binary_length(texts)).as_py() or 0)
            return encode(encoder, texts)

        return counted

    def _unseen(self, check: Callable[..., None]) -> Callable[..., None]:
        """Comparing the engines encodes a few texts once more; that is no encoding of the run."""

        @wraps(check)
        def unseen(*args: Any, **rest: Any) -> None:
            self._checking += 1
            try:
                check(*args, **rest)
            finally:
                self._checking -= 1

        return unseen
