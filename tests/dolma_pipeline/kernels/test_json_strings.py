"""UTF-8 and strings as Python's own decoder and json see them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline.kernels.json_strings import BAD, NO_ROOM, ROOM, copy_string, is_utf8, plain_end, skip_string


def array(raw: bytes) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    return np.frombuffer(raw, np.uint8)


def by_python(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


SEQUENCES = [b"A", b"\x80", b"\xbf"]
SEQUENCES += [bytes([lead, second]) for lead in range(0xC0, 0x100) for second in (0x41, 0x7F, 0x80, 0xBF, 0xC0)]
SEQUENCES += [
    bytes([lead, second, third])
    for lead in range(0xE0, 0xF8)
    for second in (0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF)
    for third in (0x7F, 0x80, 0xBF, 0xC0)
]
SEQUENCES += [bytes([*s, last]) for s in SEQUENCES if len(s) == 3 and s[0] >= 0xF0 for last in (0x7F, 0x80, 0xBF)]


@pytest.mark.parametrize("before", [0, 1, 2, 3, 60, 61, 62, 63, 64, 65, 66, 67, 130])
def test_every_kind_of_sequence_is_judged_at_every_place_of_a_step(before: int) -> None:
    for sequence in SEQUENCES:
        for after in (0, 1, 70):
            raw = b"a" * before + sequence + b"b" * after
            assert is_utf8(array(raw), 0, len(raw)) == by_python(raw), (sequence, after)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(max_size=20).map(lambda t: t.encode("utf-8", "replace")) | st.binary(max_size=3)), st.data())
def test_a_stretch_is_judged_by_itself(parts: list[bytes], data: st.DataObject) -> None:
    raw = b"".join(parts)
    start = data.draw(st.integers(0, len(raw)))
    stop = data.draw(st.integers(start, len(raw)))
    assert is_utf8(array(raw), start, stop) == by_python(raw[start:stop])


TEXTS = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from('"\\\n/é😀'), max_size=200)


@settings(max_examples=200, deadline=None)
@given(TEXTS, st.booleans(), st.integers(0, 3), st.sampled_from([0, 1, 64, 200]))
def test_a_string_is_copied_as_json_decodes_it(text: str, ascii: bool, before: int, behind: int) -> None:
    string = json.dumps(text, ensure_ascii=ascii).encode()
    raw = b" " * before + string + b"," * behind
    out = np.zeros(len(raw) + ROOM, np.uint8)
    end, used = copy_string(array(raw), before + 1, out, 2)
    assert (end, out[2:used].tobytes().decode()) == (before + len(string), text)
    assert skip_string(array(raw), before + 1) == end


@settings(max_examples=200, deadline=None)
@given(TEXTS, st.data(), st.sampled_from([0, 200]))
def test_what_json_refuses_is_bad(text: str, data: st.DataObject, behind: int) -> None:
    string = bytearray(json.dumps(text).encode()[1:])
    at = data.draw(st.integers(0, len(string) - 1))
    string[at : at + 1] = data.draw(st.sampled_from([b"\x1f", b"\\", b"\\u12", b"\\ud800", b"\\udc00", b"\\x", b""]))
    raw = bytes(string) + b"-" * behind
    try:
        wanted, size = json.JSONDecoder().raw_decode('"' + raw.decode())
        wanted.encode()
    except (json.JSONDecodeError, UnicodeEncodeError):
        wanted, size = None, BAD + 1
    out = np.zeros(len(raw) + ROOM, np.uint8)
    end, used = copy_string(array(raw), 0, out, 0)
    assert end == skip_string(array(raw), 0) == size - 1
    if wanted is not None:
        assert out[:used].tobytes().decode() == wanted


def test_an_output_that_is_too_short_is_told() -> None:
    raw = array(b'abc" and more')
    assert copy_string(raw, 0, np.zeros(ROOM - 1, np.uint8), 0)[0] == NO_ROOM
    assert copy_string(raw, 0, np.zeros(ROOM + 3, np.uint8), 0)[0] == 4


@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 200])
def test_the_plain_part_ends_at_the_first_special_byte(size: int) -> None:
    for special in (0x22, 0x5C, 0x00, 0x1F):
        for behind in (0, 100):
            assert plain_end(array(b" " * size + bytes([special]) + b"x" * behind), 0) == size
    assert plain_end(array(b"\x7f" * size), 0) == size
