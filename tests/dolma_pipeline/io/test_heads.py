"""Whether a line of some first bytes could be a document: against the reader itself, whatever the lines are."""

from __future__ import annotations

import gzip
import json

import orjson
import pytest
import zstandard
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dolma_pipeline.io import heads
from dolma_pipeline.io.heads import array, content, could_hold_documents, recognizes
from dolma_pipeline.io.jsonl import Failure, read_lines

DOCUMENT = st.builds(lambda text: json.dumps({"text": text}).encode(), st.text(max_size=20))
FRAGMENTS = [b"", b"  ", b"{", b"}", b"[", b"]", b",", b"{}", b"[]", b"[1, 2]", b'"text"', b"7", b"\0", b"nonsense"]
MISHAPS = [b'{"text": "cut', b'{"text": "a"},', b'{"text": "b"}]', b'[{"text": "c"}', b'{"text": "a"}{"text": "b"}']
OTHERS = [b"\xff\xfe", b"text,id", b"<html>", b"WARC/1.0", b"ARROW1\0\0", b"PAR1", b"[" * 2_000]
NOT_JSON = [b'{"text": "\xff"}', b'{"text": NaN}', b"{'text': 'a'}"]
BROKEN = st.sampled_from(FRAGMENTS + MISHAPS + OTHERS + NOT_JSON)
LINES = st.lists(DOCUMENT | BROKEN | st.binary(max_size=12), max_size=8)


def documents(raw: bytes) -> list[int]:
    """The first byte of each line that gives a document, by the reader."""
    starts = [0, *(i + 1 for i, byte in enumerate(raw) if byte == 10)]
    failures: list[Failure] = []
    batches = list(read_lines(iter([raw]), path="p", shard="s", report=failures.append))
    return [starts[loc - 1] for batch in batches for loc in batch.locs.tolist()]


def is_one_array(raw: bytes) -> bool:
    try:
        return isinstance(json.loads(raw.removeprefix(heads.BOM)), list)
    except (ValueError, RecursionError):
        return False


@settings(max_examples=400, deadline=None)
@given(rows=LINES, ending=st.sampled_from([b"\n", b"\r\n", b"\n\n"]), mark=st.booleans(), last=st.booleans())
@example(rows=[b"[", b'{"text": "a"}', b",", b'{"text": "b"}', b"]x"], ending=b"\n", mark=False, last=True)
@example(
    rows=[b"[", b'{"text": "a"},', b'{"text": "b"},', b"nonsense", b'{"text": "c"}'],
    ending=b"\n",
    mark=False,
    last=True,
)
def test_what_gives_a_document_is_never_refused(rows: list[bytes], ending: bytes, mark: bool, last: bool) -> None:
    raw = heads.BOM * mark + ending.join(rows) + ending * last
    if documents(raw) and not is_one_array(raw):
        assert could_hold_documents(raw)
        assert recognizes(raw)
        assert recognizes(gzip.compress(raw))
        assert recognizes(zstandard.compress(raw))


@settings(max_examples=400, deadline=None)
@given(rows=LINES, size=st.integers(1, 60))
def test_a_document_that_the_cut_goes_through_is_not_refused_either(rows: list[bytes], size: int) -> None:
    raw = b"\n".join(rows)
    begun = array(raw[:size])
    if any(start < size for start in documents(raw)) and not (begun and begun.objects) and not is_one_array(raw):
        assert could_hold_documents(raw[:size])


@pytest.mark.parametrize(
    "raw",
    [
        b'{"text": "a"}',
        b'{"text": "a", "score": NaN}\n' * 3,
        b'\xef\xbb\xbf{"text": "a"}\n',
        b'nonsense\n{"text": "a"}\n',
        b'{"text": "cut off',
        b"{",
        b'{"text": "caf\xe9"}\n' * 3,
        b'{"text": "\\ud800"}\n',
        b'[1]\n{"other": 1}\n',
        b'{"id": 1}\n',
        b'{"a": ' * 400 + b"1" + b"}" * 400 + b"\n",
        b'["a", "b"]\n{"text": "a"}\n',
        b'[\n{"text": "a"}\n]\n',
        b'{"text": "a"}\r\n\r\n{"text": "b"}\r\n',
    ],
)
def test_lines_that_may_be_documents(raw: bytes) -> None:
    assert could_hold_documents(raw)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\n \n",
        b"plain text\n",
        b'[{"text": "a"}, {"text": "b"}]',
        b'[{"text": "a"},\n{"text": "b"}]\n',
        b'[\n{"text": "a"},\n{"text": "b"}\n]\n',
        b'[\n{"text": "a"},\n{"text": "b that is cut',
        b'{"text": "a"}\r{"text": "b"}\r',
        b'{"text": "a"}{"text": "b"}\n' * 2,
        b'{\n  "text": "a"\n}\n',
        b"{'text': 'a'}\n",
        b"{}\n{}\n",
        b"{\\rtf1 and more}\n{\\rtf1",
        b'\xff\xfe{"text": "a"}\n',
        json.dumps([{"text": "x" * 70_000}]).encode()[:65_536],
        json.dumps([{"text": "a", "metadata": {}}], indent=2).encode(),
    ],
)
def test_lines_that_cannot(raw: bytes) -> None:
    assert not could_hold_documents(raw)
    assert not recognizes(raw)


def test_an_array_is_read_as_far_as_it_goes() -> None:
    assert array(b'[{"a": 1}, 2, {"b"') == heads.Array(2, 1, object_next=True)
    assert array(b" [ ] \n") == heads.Array(0, 0, closed=True)
    assert array(b"[1, 2]") == heads.Array(2, 0, closed=True)
    assert array(b"[1,") == heads.Array(1, 0)
    assert array(b"[" * 100_000) == heads.Array(0, 0)
    assert array(b"[1] [2]") is array(b"[] x") is array(b"[1 2]") is array(b"{}") is array(b"") is None


def test_content_is_bounded_and_needs_no_whole_file() -> None:
    bomb = gzip.compress(bytes(10_000_000))
    assert content(bomb) == bytes(heads.CONTENT_BYTES)
    assert content(bomb, most=10) == bytes(10)
    rows = b"".join(orjson.dumps({"text": f"text number {i}"}) + b"\n" for i in range(50_000))
    packed = gzip.compress(rows)
    assert rows.startswith(content(packed[:2_000]))
    assert len(content(packed[:2_000])) > 5_000
    frames = zstandard.ZstdCompressor().compress(rows)
    assert rows.startswith(content(frames[:100_000]))
    assert content(frames[:100_000])
    assert content(gzip.compress(b"") + gzip.compress(b"a")) == b"a"
    assert content(b"plain") == b"plain"
    assert content(b"\x1f\x8b\x07damaged header") == b""
