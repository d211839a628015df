"""Lines in, rows out of a part of a file: byte ranges, and the lines that are wanted."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline.io.jsonl import Failure, read_lines
from tests.dolma_pipeline.io.test_jsonl import TEXTS, Read


def oracle(raw: bytes) -> list[tuple[str, int]]:
    """(text, first byte) of each document, by Python's json, a line at a time."""
    found, at = [], 0
    for i, line in enumerate(raw.split(b"\n")):
        text = line.decode("utf-8-sig" if i == 0 else "utf-8")
        if text.strip():
            found.append((json.loads(text)["text"], at))
        at += len(line) + 1
    return found


@st.composite
def plain_files(draw: st.DrawFn) -> bytes:
    rows = draw(st.lists(st.one_of(st.none(), TEXTS), max_size=12))
    ending = draw(st.sampled_from([b"\n", b"\r\n"]))
    body = [b"" if t is None else json.dumps({"text": t}, ensure_ascii=draw(st.booleans())).encode() for t in rows]
    raw = draw(st.sampled_from([b"", b"\xef\xbb\xbf"])) + ending.join(body)
    return raw + (ending if draw(st.booleans()) else b"")


@settings(max_examples=200, deadline=None)
@given(plain_files(), st.data())
def test_any_cut_into_byte_ranges_gives_the_same_documents_in_order(raw: bytes, data: st.DataObject) -> None:
    newlines = [i + 1 for i, byte in enumerate(raw) if byte == 10 and i + 1 < len(raw)]
    near = [cut + d for cut in newlines for d in (-1, 0, 1)]
    anywhere = st.integers(1, max(1, len(raw) - 1))
    points = st.one_of(anywhere, st.sampled_from(near)) if near else anywhere
    cuts = sorted({c for c in data.draw(st.lists(points, max_size=6)) if 0 < c < len(raw)})
    texts, owners = [], []
    for start, end in zip([0, *cuts], [*cuts, len(raw)], strict=True):
        failures: list[Failure] = []
        begin = max(0, start - 1)
        pieces = iter([raw[begin : begin + 5], raw[begin + 5 :]])
        for batch in read_lines(pieces, path="p", shard="s", report=failures.append, start=start, end=end):
            texts += batch.strings
            owners += [(start, end)] * len(batch)
        assert failures == []
    expected = oracle(raw)
    assert texts == [text for text, _ in expected]
    assert all(start <= at < end for (start, end), (_, at) in zip(owners, expected, strict=True))


@settings(max_examples=200, deadline=None)
@given(plain_files(), st.sets(st.integers(1, 14)), st.integers(1, 40), st.data())
def test_lines_that_are_not_wanted_are_passed_over(
    raw: bytes, wanted: set[int], size: int, data: st.DataObject
) -> None:
    raw = raw.replace(b'"text"', b'"txet"', data.draw(st.integers(0, 1)))  # a bad line is told of where it is wanted
    start = data.draw(st.sampled_from([0, *(i + 1 for i, byte in enumerate(raw) if byte == 10)]))
    end = data.draw(st.none() | st.integers(start, len(raw)))
    begin, before = max(0, start - 1), raw[:start].count(b"\n")

    def read(only: list[int] | None) -> tuple[list[tuple[str, int]], list[Failure]]:
        pieces = iter([raw[begin : begin + size], raw[begin + size :]])
        failures: list[Failure] = []
        options = {"path": "p", "shard": "s", "report": failures.append, "lines_before": before}
        batches = list(read_lines(pieces, start=start, end=end, only=only, **options))
        return [one for b in batches for one in zip(b.strings, b.locs.tolist(), strict=True)], failures

    documents, failures = read(None)
    expected = [one for one in documents if one[1] in wanted], [one for one in failures if one.line in wanted]
    assert read(sorted(wanted)) == expected


def test_after_the_last_wanted_line_nothing_is_read() -> None:
    def pieces() -> Iterator[bytes]:
        yield from [b'{"text": "%d"}\n' % i + b" " * 9_000_000 + b"\n" for i in range(3)]
        pytest.fail("read on")

    failures: list[Failure] = []
    options = {"path": "p", "shard": "s", "report": failures.append}
    (batch,) = read_lines(pieces(), only=[3], **options)
    assert (batch.strings, batch.locs.tolist(), failures) == (["1"], [3], [])
    assert list(read_lines(pieces(), only=[], **options)) == []


def test_wanted_lines_of_many_blocks_and_batches() -> None:
    raw = b"".join(b'{"text": "%d"}\n' % i for i in range(1_300_000))
    only = [1, *range(400_000, 402_500), 1_200_000]
    batches = list(read_lines(iter([raw]), path="p", shard="s", report=pytest.fail, only=only))
    assert [loc for batch in batches for loc in batch.locs.tolist()] == only
    assert [text for batch in batches for text in batch.strings] == [str(line - 1) for line in only]
    assert [len(batch) for batch in batches] == [1000, 1000, 502]


def test_a_cut_at_every_byte_of_a_file_with_a_byte_order_mark_and_blank_lines(data: Path) -> None:
    small = b'\xef\xbb\xbf{"text": "a"}\n\n{"text": "b"}\r\n  \n{"text": "c"}'
    for cut in range(1, len(small)):
        first = Read(small, start=0, end=cut)
        second_pieces = small[cut - 1 :]
        failures: list[Failure] = []
        second = read_lines(iter([second_pieces]), path="p", shard="s", report=failures.append, start=cut, end=None)
        texts = first.column("text") + [text for batch in second for text in batch.strings]
        assert (texts, first.failures, failures) == (["a", "b", "c"], [], []), cut
