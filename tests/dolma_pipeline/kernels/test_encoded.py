"""Encoded runs against the regular expressions of the StarCoder 2 paper."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline.documents import Batch
from dolma_pipeline.kernels.encoded import encoded_runs

BASE64 = re.compile(rb"[a-zA-Z0-9+/\n=]{64,}")
HEX = re.compile(rb"(?:\b(?:0x|\\x)?[0-9a-fA-F]{2}(?:,|\b\s*)){8,}")
UNICODE = re.compile(rb"(?:\\u[0-9a-fA-F]{4}){8,}")


def check(batch: Batch) -> None:
    runs = encoded_runs(batch.text)
    for kind, pattern in ((0, BASE64), (1, HEX), (2, UNICODE)):
        expected = []
        for row, text in enumerate(batch.strings):
            offset = int(batch.text.offsets[row])
            for run in pattern.finditer(text.encode()):
                start, end = run.span()
                if pattern is BASE64:
                    start, end = (
                        start + len(run[0]) - len(run[0].lstrip(b"\n")),
                        end - len(run[0]) + len(run[0].rstrip(b"\n")),
                    )
                    if end - start < 64:
                        continue
                expected.append([row, offset + start, offset + end])
        assert runs[kind].T.tolist() == expected


PIECE = st.sampled_from(
    ["4f", "0x4F", "\\x00", ",", ", ", " ", "\n", "\\u12aB", "\\u12aBx", "zz", "é", "0x", "\\", "A" * 30,
     "=", "+/", "4", "_", "ff ff ff ff"]
)  # fmt: skip
TEXT = st.lists(st.tuples(st.lists(PIECE | st.text(max_size=2), max_size=3), st.integers(1, 9)), max_size=6).map(
    lambda parts: "".join("".join(unit) * times for unit, times in parts).encode("utf-8", "ignore").decode()
)


@settings(max_examples=40, deadline=None)
@given(st.lists(TEXT, min_size=1, max_size=3))
def test_equal_to_regular_expressions_on_any_unicode(texts: list[str]) -> None:
    check(Batch.of(texts))
    check(Batch(Batch.of(texts).table.slice(1)))


def test_each_kind() -> None:
    texts = [
        "é" + "QUJD" * 16 + "==!", "\n" * 100, "\n" * 10 + "A" * 63 + "\n", "A" * 63,
        "x = [0x00,0x01,0x02,03 04 05 06 07 08]", "0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07",
        'b"\\x00\\x01\\x02\\x03\\x04\\x05\\x06\\x07"', "a\\x00" * 9,
        '"' + "\\u00e9" * 8 + '"', "\\u00e9" * 7,
    ]  # fmt: skip
    check(Batch.of(texts))
    runs = encoded_runs(Batch.of(texts).text)
    assert [run.shape[1] for run in runs] == [1, 1, 1]


def test_a_run_never_goes_on_in_the_next_document() -> None:
    runs = encoded_runs(Batch.of(["A" * 40, "A" * 40, "\\u00e9" * 4, "\\u00e9" * 4, "4f " * 4, "4f " * 4]).text)
    assert [run.shape[1] for run in runs] == [0, 0, 0]


def test_many_runs_of_real_code(all_texts: list[str]) -> None:
    check(Batch.of(all_texts[::20] + ["4f " * 8 + "! "] * 200))
