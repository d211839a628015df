"""Dialogues and pairs as arrays that training maps: made once, before the processes start. Does not load torch.

<stage>/data/tokens.npy      ids [instances, length]      scored.npy   bool: the token is one to learn
<stage>/data/segments.npy    of dialogues that share a sequence, 1, 2, …; 0 is padding
<stage>/data/examples.json   counts, and a digest over these files
A sequence of SFT holds several dialogues, put together best-fit-decreasing: the longest first, each where the least
room is left. An instance of DPO is a pair: the first half is the chosen dialogue, the second half the rejected one.
Cost: all ids are in memory at once while they are made, 5 bytes a token.
"""

from __future__ import annotations

import bisect
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dolma_pipeline.errors import DataError, RunError
from dolma_pipeline.io import paths
from dolma_pipeline.io.manifest import digest, pretty
from dolma_pipeline.train.chat import Encoded, Template, dialogue_of, pair_of, rows_of

ARRAYS = ("tokens", "scored", "segments")
_AT_ONCE = 1000
"""Dialogues that are encoded at once."""


@dataclass(frozen=True)
class Examples:
    """What SFT and DPO train on.

    tokens: ids [N, L]. scored: bool [N, L]. segments: uint16 [N, L], 0 is padding. L is the sequence length of SFT,
    and twice that of DPO.
    """

    tokens: NDArray[np.unsignedinteger[Any]]
    scored: NDArray[np.bool_]
    segments: NDArray[np.uint16]

    def __len__(self) -> int:
        return len(self.tokens)


def pack(lengths: Sequence[int], *, capacity: int) -> list[list[int]]:
    """Which items share a bin, best-fit-decreasing; each at most `capacity` long. Items and bins in order of filling.

    Source: Johnson 1974, "Fast algorithms for bin packing".
    """
    bins: list[list[int]] = []
    rooms: list[tuple[int, int]] = []  # room and bin, sorted
    for item in sorted(range(len(lengths)), key=lambda item: (-lengths[item], item)):
        place = bisect.bisect_left(rooms, (lengths[item], -1))
        room, number = rooms.pop(place) if place < len(rooms) else (capacity, len(bins))
        if number == len(bins):
            bins.append([])
        bins[number].append(item)
        bisect.insort(rooms, (room - lengths[item], number))
    return bins


def dialogues(files: Sequence[str], *, template: Template, length: int) -> tuple[Examples, dict[str, int]]:
    """Dialogues of files, packed into sequences, and counts.

    Args:
        length: of a sequence; a longer dialogue is cut at its end.

    Raises:
        DataError: a row that is none, or no dialogue with an answer at all.
    """
    counts = {"dialogues": 0, "cut": 0, "without_answer": 0}
    kept: list[Encoded] = []
    rows = [dialogue_of(row, place=place) for place, row in rows_of(files)]
    for first in range(0, len(rows), _AT_ONCE):
        for one in template.encode(rows[first : first + _AT_ONCE]):
            counts["dialogues"] += 1
            counts["cut"] += len(one.ids) > length
            short = Encoded(one.ids[:length], one.scored[:length])
            if short.scored.any():
                kept.append(short)
            else:
                counts["without_answer"] += 1
    if not kept:
        raise DataError(f"{_names(files)}: no dialogue has an answer within {length} tokens: nothing to learn.")
    bins = pack([len(one.ids) for one in kept], capacity=length)
    found = _empty(template, len(bins), length)
    for number, items in enumerate(bins):
        at = 0
        for segment, item in enumerate(items, 1):
            at = _put(found, kept[item], number, at, segment)
    return found, counts | _sizes(found)


def pairs(files: Sequence[str], *, template: Template, length: int) -> tuple[Examples, dict[str, int]]:
    """Pairs of files, each a chosen and a rejected dialogue of at most `length` tokens, and counts.

    Raises:
        DataError: a row that is none, or no pair of which something is left to compare.
    """
    counts = {"pairs": 0, "cut": 0, "without_answer": 0, "equal": 0}
    kept: list[tuple[Encoded, Encoded]] = []
    rows = [pair_of(row, place=place) for place, row in rows_of(files)]
    for first in range(0, len(rows), _AT_ONCE):
        both = [messages for pair in rows[first : first + _AT_ONCE] for messages in pair]
        encoded = template.encode(both, last_only=True)
        for chosen, rejected in zip(encoded[::2], encoded[1::2], strict=True):
            counts["pairs"] += 1
            counts["cut"] += max(len(chosen.ids), len(rejected.ids)) > length
            short = [Encoded(one.ids[:length], one.scored[:length]) for one in (chosen, rejected)]
            if np.array_equal(short[0].ids, short[1].ids):
                counts["equal"] += 1  # no gradient
            elif not all(one.scored.any() for one in short):
                counts["without_answer"] += 1
            else:
                kept.append((short[0], short[1]))
    if not kept:
        raise DataError(f"{_names(files)}: no pair differs within {length} tokens; there is nothing to learn.")
    found = _empty(template, len(kept), 2 * length)
    for number, pair in enumerate(kept):
        for half, one in enumerate(pair):
            _put(found, one, number, half * length, half + 1)
    return found, counts | _sizes(found)


def write_examples(folder: Path, examples: Examples, *, about: Mapping[str, Any]) -> str:
    """Write arrays and, last, their manifest with `about` in it; returns the digest of the arrays."""
    folder.mkdir(parents=True, exist_ok=True)
    hashes = {}
    for name in ARRAYS:
        np.save(folder / f"{name}.npy", getattr(examples, name))
        hashes[name] = paths.sha256_file(folder / f"{name}.npy")
    dataset = digest(hashes)
    paths.write_bytes(folder / "examples.json", pretty({**about, "files": hashes, "dataset": dataset}))
    return dataset


def open_examples(folder: Path) -> Examples:
    """The arrays of `write_examples`, mapped.

    Raises:
        RunError: they are not there, or not whole. DataError: they are not what their manifest says.
    """
    path = folder / "examples.json"
    if not path.is_file():
        raise RunError(f"{path}: no such file; the examples were not made. Run the stage again.")
    for name, sha256 in json.loads(path.read_bytes())["files"].items():
        if paths.sha256_file(folder / f"{name}.npy") != sha256:
            raise DataError(f"{folder / name}.npy: not what {path} says of it. Delete {folder} and run again.")
    arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in ARRAYS}
    return Examples(**arrays)


def _empty(template: Template, num: int, length: int) -> Examples:
    tokens = np.full((num, length), template.eos_id, template.encoder.info.dtype)
    return Examples(tokens, np.zeros((num, length), np.bool_), np.zeros((num, length), np.uint16))


def _put(examples: Examples, one: Encoded, row: int, at: int, segment: int) -> int:
    """Put a dialogue into a row; returns where it ends."""
    end = at + len(one.ids)
    examples.tokens[row, at:end] = one.ids
    examples.scored[row, at:end] = one.scored
    examples.segments[row, at:end] = segment
    return end


def _sizes(examples: Examples) -> dict[str, int]:
    return {
        "instances": len(examples),
        "tokens": int((examples.segments > 0).sum()),
        "scored_tokens": int(examples.scored.sum()),
    }


def _names(files: Sequence[str]) -> str:
    return ", ".join(files)
