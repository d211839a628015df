"""Text to ids and back: one protocol, two engines that give the same ids.

`gigatoken` reads Arrow's text buffers without a copy and gives numpy buffers back: 40 to 80 MB of unseen text
per CPU-second, 100 to 180 of text whose words it has met, for it caches words; so there is one object a
process. `tokenizers` makes 1 to 2 MB; it is the reference, and what is left for tokenizers that gigatoken
does not know. Neither adds special tokens, neither reads them out of a text (see `tokens.special_free`).
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dolma_pipeline.documents import text_buffers
from dolma_pipeline.errors import DataError, RunError
from dolma_pipeline.tokens.special_free import hides_pieces, plain_json, reference_json, special_free_json
from dolma_pipeline.tokens.tokenizer import TokenizerInfo

CACHE_TEXT_BYTES = 256_000_000
"""After so much text gigatoken's word cache is begun anew. It never forgets by itself: measured, it takes 0.6 bytes for
each byte of English, and 5 for each of Chinese, where a word is all that stands between two marks. A new one costs some
3 % of the speed."""

IDS_TYPE = pa.list_(pa.uint32())
"""Arrow type of what an encoder gives: a list of ids for each text."""

_REFERENCE_ROWS = 256  # texts handed to `tokenizers` at once: its results take ~100 bytes a token


class Encoder(Protocol):
    """Encodes a column of texts as a column of id lists; `info` says with which tokenizer and engine."""

    info: TokenizerInfo

    def encode(self, texts: pa.StringArray) -> pa.ListArray:
        """Ids of each text, `IDS_TYPE`; an empty (or null) text gives an empty list. Slices are respected."""

    def decode(self, ids: Sequence[int] | NDArray[np.integer[Any]]) -> str:
        """The text of these ids, special tokens written out.

        Where the tokenizer normalizes, this is the normalized text: OLMo's gives `NFC(text)`.
        """

    def check(self, texts: pa.StringArray, *, names: Sequence[str] = ()) -> None:
        """Compare with `tokenizers`: RunError names the first text that differs (`names[i]`, or its row)."""


_encoders: dict[tuple[str, tuple[str, ...], str], Encoder] = {}
_loading = threading.Lock()


def encoder(info: TokenizerInfo) -> Encoder:
    """The warm encoder of a tokenizer: one object a process, whoever asks.

    Loading gigatoken ends with a check against `tokenizers` on a fixed set of awkward strings.

    Raises:
        RunError: gigatoken cannot load this tokenizer, or gives other ids than `tokenizers`.
    """
    key = (info.sha256, tuple(sorted(info.special_ids)), info.engine)
    with _loading:
        if key not in _encoders:
            _encoders[key] = GigatokenEncoder(info) if info.engine == "gigatoken" else TokenizersEncoder(info)
        return _encoders[key]


class TokenizersEncoder:
    """The reference: Hugging Face `tokenizers` with `encode_special_tokens=True`.

    DataError where a special token comes out of its own text all the same.
    """

    def __init__(self, info: TokenizerInfo) -> None:
        from tokenizers import Tokenizer

        self.info = info
        self._tokenizer = Tokenizer.from_str(reference_json(info))
        self._tokenizer.encode_special_tokens = True
        self._refuse_special_text()

    def encode(self, texts: pa.StringArray) -> pa.ListArray:
        """See `Encoder.encode`."""
        lists: list[list[int]] = []
        for start in range(0, len(texts), _REFERENCE_ROWS):
            rows = [text or "" for text in texts.slice(start, _REFERENCE_ROWS).to_pylist()]
            lists += [encoded.ids for encoded in self._tokenizer.encode_batch_fast(rows, add_special_tokens=False)]
        offsets = np.zeros(len(lists) + 1, np.int64)
        np.cumsum([len(ids) for ids in lists], out=offsets[1:])
        ids = np.fromiter((i for row in lists for i in row), np.uint32, int(offsets[-1]))
        return _list_array(offsets, ids)

    def decode(self, ids: Sequence[int] | NDArray[np.integer[Any]]) -> str:
        """See `Encoder.decode`."""
        return str(self._decoder.decode([int(i) for i in ids], skip_special_tokens=False))

    @cached_property
    def _decoder(self) -> Any:
        """The tokenizer in which special tokens have their names."""
        from tokenizers import Tokenizer

        return Tokenizer.from_str(plain_json(self.info)) if hides_pieces(self.info) else self._tokenizer

    def _refuse_special_text(self) -> None:
        forbidden = {id_: token for token, id_ in self.info.special_ids.items() if id_ != self.info.unknown.id}
        texts = [text for token in forbidden.values() for text in (token, f"a{token}b", f" {token} ")]
        for text, ids in zip(texts, self.encode(pa.array(texts, pa.string())).to_pylist(), strict=True):
            if given := sorted(forbidden.keys() & set(ids)):
                raise DataError(
                    f"the text {text!r} gives the id {given[0]} of the special token {forbidden[given[0]]!r}. A "
                    "special token must not come out of a text: name one that is not a common word, or leave it out of "
                    "tokenizer.special_tokens"
                )

    def check(self, texts: pa.StringArray, *, names: Sequence[str] = ()) -> None:
        """Nothing to compare: this engine is the reference."""


class GigatokenEncoder:
    """The fast engine, on a copy of the tokenizer without its special entries.

    One thread at a time: the word cache is one for all.
    """

    def __init__(self, info: TokenizerInfo) -> None:
        import gigatoken

        self.info = info
        self._lock = threading.Lock()
        self._reference = TokenizersEncoder(info)
        self._cached = 0  # bytes of text that the word cache has seen
        try:
            self._tokenizer = gigatoken.Tokenizer.from_json(special_free_json(info))
        except (RuntimeError, ValueError, TypeError, NotImplementedError) as error:
            reason = str(error).strip().split("\n")[0]
            raise RunError(f"gigatoken cannot load this tokenizer: {reason}") from error
        probes = awkward_strings(info)
        self.check(pa.array(probes, pa.string()), names=[f"the test string {probe[:40]!r}" for probe in probes])

    def encode(self, texts: pa.StringArray) -> pa.ListArray:
        """See `Encoder.encode`."""
        import awkward as ak
        import gigatoken

        offsets, data = text_buffers(texts)
        column = ak.contents.ListOffsetArray(
            ak.index.Index64(offsets.astype(np.int64)),
            ak.contents.NumpyArray(data, parameters={"__array__": "char"}),
            parameters={"__array__": "string"},
        )
        with self._lock:
            if self._cached > CACHE_TEXT_BYTES:
                self._tokenizer, self._cached = gigatoken.Tokenizer.from_json(special_free_json(self.info)), 0
            encoded = self._tokenizer.encode_batch(ak.Array(column), parallel=False)
            self._cached += len(data)
        lists = encoded.layout.to_ListOffsetArray64(True)
        return _list_array(np.asarray(lists.offsets.data), np.asarray(lists.content.data))

    def decode(self, ids: Sequence[int] | NDArray[np.integer[Any]]) -> str:
        """See `Encoder.decode`."""
        return self._reference.decode(ids)

    def check(self, texts: pa.StringArray, *, names: Sequence[str] = ()) -> None:
        """See `Encoder.check`."""
        ours, theirs = self.encode(texts), self._reference.encode(texts)
        if ours.equals(theirs):
            return
        for row, (left, right) in enumerate(zip(ours.to_pylist(), theirs.to_pylist(), strict=True)):
            if left != right:
                at = next((i for i, (a, b) in enumerate(zip(left, right, strict=False)) if a != b), len(right))
                name = names[row] if names else f"text {row}"
                raise RunError(
                    f"gigatoken and tokenizers give different ids for {name}, from token {at} on: "
                    f"{left[at : at + 3]} and {right[at : at + 3]}; tokenizer sha256 {self.info.sha256[:12]}"
                )


def awkward_strings(info: TokenizerInfo) -> list[str]:
    """A fixed set of strings on which tokenizers have been seen to differ, with this one's own added tokens."""
    marks = [*info.special_ids, *info.added_ids]
    around = [text for mark in marks for text in (mark, f"a{mark}b", f" {mark} {mark}\n", f"é{mark}e\u0301")]
    return [*_AWKWARD, *around, *_random_strings()]


_AWKWARD = (
    "",
    " ",
    "  a   b    c ",
    "\n\n \t\r\n x",
    " " * 3000,
    "a" * 3000,
    "=" * 700 + "-" * 700,
    "don't DON'T it's we'll I'd you're they've I'M x'y 'tis",
    "0 00 000 1234567890 3.14159 1e-9 0xDEADBEEF 192.168.0.1 ٣٤٥ ½ ²",
    "café cafe\u0301 Å A\u030a ﬁ ſ Ω \u2126",
    "\u1100\u1161\u11a8 각 \uac01",
    "q\u0323\u0307 q\u0307\u0323 \u0344",
    "हिन्दी में पाठ ภาษาไทยไม่มีช่องว่าง עברית عَرَبِيّ",
    "中文没有空格。日本語の文章、カタカナ 한국어 띄어쓰기",
    "👩‍👩‍👧‍👦 👍🏽 🇩🇪🇫🇷 ☃\ufe0f \U0001f600",
    "\x00\x01\x1f\x7f\x85\xa0\u2028\u2029\ufeff\u200b\u00ad\ufffd",
    "\ue000 \U000e0001 \U0010ffff \ufdd0",
    "def f(x):\n\treturn {'a': [1, 2,  3]}  # ok\n\n\n",
    "<html>&nbsp;</html> <|im_start|> [INST] <s></s> |||PHONE_NUMBER|||",
    "http://example.org/a_b-c?d=e&f=%20#g",
    "Ġ Ċ ĉ â€™ Ã©",
)


def _random_strings() -> list[str]:
    """Forty strings of characters from all of Unicode but surrogates, the same in every process."""
    random = np.random.Generator(np.random.PCG64(20_240_601))
    texts = []
    for top in (0x80, 0x800, 0x3100, 0x110000):
        for _ in range(10):
            points = random.integers(0, top - 0x800 if top > 0xD800 else top, 60)
            texts.append("".join(chr(point + 0x800 if point >= 0xD800 else point) for point in points.tolist()))
    return texts


def _list_array(offsets: NDArray[np.int64], ids: NDArray[np.uint32]) -> pa.ListArray:
    """`IDS_TYPE` over these buffers; int64 offsets from 0."""
    if int(offsets[-1]) > np.iinfo(np.int32).max:
        raise DataError(f"{int(offsets[-1])} tokens in one batch; batches of at most 2^31 are encoded")
    return pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), pa.array(ids))
