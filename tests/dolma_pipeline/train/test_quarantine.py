from __future__ import annotations

import json
from pathlib import Path

import pytest

from dolma_pipeline.errors import DataError
from dolma_pipeline.train.quarantine import (
    Line,
    OwnLines,
    by_hand_digest,
    masked,
    read_quarantine,
    refuse_late_lines,
)

BY_HAND = b'{"instance": 4, "reason": "dashes"}\n{"step": 3, "instance": 8}\n'


def own(instance: int, step: int) -> bytes:
    return f'{{"by":"train","instance":{instance},"reason":"loss is nan","step":{step}}}\n'.encode()


def write(run: Path, content: bytes, name: str = "quarantine.jsonl") -> Path:
    (run / name).parent.mkdir(parents=True, exist_ok=True)
    (run / name).write_bytes(content)
    return run / name


def test_a_line_counts_once_its_steps_are_done(tmp_path: Path) -> None:
    assert read_quarantine(tmp_path) == []
    write(tmp_path, BY_HAND + own(7, 5))
    lines = read_quarantine(tmp_path, num_instances=9)
    assert lines == [Line(4, 0, own=False), Line(8, 3, own=False), Line(7, 5, own=True)]
    assert [masked(lines, done=done) for done in (0, 2, 3, 5)] == [{4}, {4}, {4, 8}, {4, 7, 8}]


def test_only_lines_of_the_trainer_are_cut(tmp_path: Path) -> None:
    path = write(tmp_path, own(1, 2) + BY_HAND + own(7, 5) + own(9, 6) + b'{"by":"train","insta')
    lines = OwnLines(tmp_path, until=2)  # before the step of a line by hand
    assert path.read_bytes() == own(1, 2) + BY_HAND
    lines.append(instance=3, step=6, reason="loss is nan")
    assert path.read_bytes() == own(1, 2) + BY_HAND + own(3, 6)


def test_a_last_line_by_hand_needs_no_newline(tmp_path: Path) -> None:
    path = write(tmp_path, own(1, 2) + b'{"instance": 5}')
    lines = OwnLines(tmp_path, until=0)
    lines.append(instance=3, step=1, reason="loss is nan")
    assert path.read_bytes() == b'{"instance": 5}\n' + own(3, 1)


def test_lines_that_an_editor_writes_meanwhile_stay_and_so_do_the_next_ones(tmp_path: Path) -> None:
    """Editors put a new file in the place of the old one, and may leave the last line without its newline."""
    lines = OwnLines(tmp_path, until=0)
    lines.append(instance=1, step=1, reason="loss is nan")
    edited = tmp_path / "edited"
    edited.write_bytes((tmp_path / "quarantine.jsonl").read_bytes() + b'{"instance": 5, "step": 90}')
    edited.replace(tmp_path / "quarantine.jsonl")
    lines.append(instance=2, step=2, reason="loss is nan")
    assert [line.instance for line in read_quarantine(tmp_path)] == [1, 5, 2]


def test_no_file_without_a_line(tmp_path: Path) -> None:
    OwnLines(tmp_path, until=0)
    assert list(tmp_path.iterdir()) == []


def test_a_run_of_an_earlier_version(tmp_path: Path) -> None:
    """There a step above 0 means that the trainer wrote the line."""
    old = b'{"instance":2,"reason":"by hand","step":0}\n{"instance":5,"reason":"loss is nan","step":4}\n'
    path = write(tmp_path, old, "train/quarantine.jsonl")
    assert read_quarantine(tmp_path) == [Line(2, 0, own=False), Line(5, 4, own=True)]
    OwnLines(tmp_path, until=4)
    assert path.read_bytes() == old
    OwnLines(tmp_path, until=3)
    assert path.read_bytes() == old.splitlines(keepends=True)[0]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", 'not an object with "instance"'),
        ("[1]", 'not an object with "instance"'),
        ("", 'not an object with "instance"'),
        ('{"step": 1}', '"instance" must be a whole number from 0 on'),
        ('{"instance": -1}', '"instance" must be a whole number from 0 on'),
        ('{"instance": true}', '"instance" must be a whole number from 0 on'),
        ('{"instance": 1, "step": "2"}', '"step" must be a whole number from 0 on'),
        ('{"instance": 1, "stpe": 2}', "unknown key 'stpe'; keys are instance, step, reason, by"),
        ('{"document": "web/1"}', "unknown key 'document'"),
        ('{"instance": 1, "by": "me"}', "\"by\" is 'me'"),
        ('{"instance": 10}', "instance 10, but there are 10, counted from 0"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, line: str, words: str) -> None:
    write(tmp_path, BY_HAND + line.encode() + b"\n")
    with pytest.raises(DataError, match=r"quarantine.jsonl:3: ") as caught:
        read_quarantine(tmp_path, num_instances=10)
    assert words in str(caught.value)


def test_a_broken_last_line_by_hand_is_no_leftover(tmp_path: Path) -> None:
    write(tmp_path, b'{"instance": 4')
    with pytest.raises(DataError, match=r"quarantine.jsonl:1: not an object"):
        read_quarantine(tmp_path)


def test_the_digest_is_of_lines_by_hand_alone() -> None:
    lines = [Line(4, 0, own=False), Line(8, 3, own=False), Line(7, 5, own=True)]
    assert by_hand_digest(lines) == by_hand_digest([lines[1], lines[0], lines[0]])
    assert by_hand_digest(lines, before=3) == by_hand_digest(lines[:1]) != by_hand_digest(lines)
    assert by_hand_digest(lines[2:]) == by_hand_digest(lines, before=0) == ""


def test_a_line_that_comes_too_late_is_refused(tmp_path: Path) -> None:
    lines = [Line(4, 0, own=False), Line(7, 2, own=True)]
    known = by_hand_digest(lines, before=6)
    refuse_late_lines(tmp_path, lines, done=6, known=known)
    refuse_late_lines(tmp_path, [*lines, Line(9, 6, own=False)], done=6, known=known)  # it counts from there on
    for other in ([*lines, Line(9, 5, own=False)], lines[1:]):
        with pytest.raises(DataError, match=r'step below 6 are others.*A line with "step": 6 counts from there on'):
            refuse_late_lines(tmp_path, other, done=6, known=known)


def test_lines_are_json(tmp_path: Path) -> None:
    lines = OwnLines(tmp_path, until=0)
    lines.append(instance=3, step=6, reason='a "quoted" reason')
    (row,) = map(json.loads, (tmp_path / "quarantine.jsonl").read_text().splitlines())
    assert row == {"by": "train", "instance": 3, "reason": 'a "quoted" reason', "step": 6}


def test_a_line_by_hand_that_would_never_count_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "quarantine.jsonl"
    path.write_text('{"instance":3,"step":11}\n{"by":"train","instance":4,"reason":"loss is nan","step":12}\n')
    assert [line.step for line in read_quarantine(tmp_path, num_steps=12)] == [11, 12]
    path.write_text('{"instance":3}\n{"instance":3,"step":12}\n')
    with pytest.raises(DataError, match=r'quarantine\.jsonl:2: "step" is 12, but training has 12 steps'):
        read_quarantine(tmp_path, num_steps=12)
