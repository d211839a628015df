"""How much disk a run will need, from the bytes of its text, before it starts; and whether so much is free.

Estimates on the safe side: where two corpora were measured, the one that took more (many short texts), and as if every
document passed the rules. Pure arithmetic but for `free_bytes`.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

# Bytes on disk a byte of text. Measured on corpora of long web pages and of many short texts.
INDEX = 0.0165  # 0.0047 and 0.0165: hashes, ids, metadata, dates
TAGGER = 0.046  # each; five taggers with spans took 0.12 to 0.23
SIGNATURES = 0.115  # each MinHash step, with its clusters: 0.022, 0.082 and 0.115
REPEATS = 0.92  # each step that marks repeats, where 29 % of runs stand twice: 0.91; of paragraphs 0.17
COLUMNS = 0.023  # each dedupe step's column, or the selection: 0.003 and 0.023 of short texts
DOCUMENTS = 0.45  # .jsonl.zst: 0.22 and 0.45
BESIDE_PARTS = 0.016  # .csv.gz and .parquet beside the ids of parts: 0.015 of short texts
TEXT_PER_TOKEN = 3.2  # bytes: 3.2 and 3.6; kept ids took 0.617 to 0.635 at 2 bytes a token, 1.23 to 1.27 at 4

# Bytes of text in a byte of a file. Measured on 9,981 documents: web pages, code, books, reference, forum.
TEXT_PER_BYTE: Mapping[str, float] = {
    ".gz": 2.7,  # 2.3 (forum) to 3.9 (code)
    ".zst": 3.4,  # 2.7 to 4.6
    ".zstd": 3.4,
    ".parquet": 2.5,  # with zstd; 1.8 with snappy
}
TEXT_PER_PLAIN_BYTE = 0.9  # JSON lines: 0.83 to 0.97


def text_bytes(files: Iterable[tuple[str, int]]) -> int:
    """About how many bytes of text there are in files.

    Args:
        files: name and size in bytes of each.
    """
    return round(sum(size * TEXT_PER_BYTE.get(Path(name.lower()).suffix, TEXT_PER_PLAIN_BYTE) for name, size in files))


def needed(
    text: int,
    *,
    index: bool = False,
    taggers: int = 0,
    minhash_steps: int = 0,
    repeat_steps: int = 0,
    columns: int = 0,
    documents: int = 0,
    kept_id_bytes: int = 0,
    part_id_bytes: int = 0,
    target_tokens: int | None = None,
) -> dict[str, int]:
    """Bytes that a run will take on disk, by what takes them, the most first; what takes none is absent.

    Args:
        text: bytes of the text of all documents. index: whether it is written. taggers: how many.
        minhash_steps, repeat_steps: dedupe steps that leave signatures, and those that leave hashes of stretches.
        columns: dedupe steps, and 1 for each mix.
        documents: mixes that write edited documents.
        kept_id_bytes, part_id_bytes: bytes of a token there, 2 or 4; 0 where they are not made.
        target_tokens: the budget of parts; None: each document once. Kept ids are those of all documents.
    """
    tokens = text / TEXT_PER_TOKEN
    in_parts = tokens if target_tokens is None else target_tokens
    estimate = {
        "index": INDEX * text * index,
        "attributes": TAGGER * text * taggers,
        "signatures": SIGNATURES * text * minhash_steps,
        "repeats": REPEATS * text * repeat_steps,
        "columns": COLUMNS * text * columns,
        "documents": DOCUMENTS * text * documents,
        "kept ids": tokens * kept_id_bytes,
        "parts": in_parts * (part_id_bytes + BESIDE_PARTS * TEXT_PER_TOKEN) if part_id_bytes else 0,
    }
    rounded = {kind: round(num_bytes) for kind, num_bytes in estimate.items() if round(num_bytes)}
    return dict(sorted(rounded.items(), key=lambda item: -item[1]))


def free_bytes(folder: Path) -> int:
    """Bytes that are free for us where a folder is, or would be made."""
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free


def disk_sentence(estimate: Mapping[str, int], folder: Path, free: int) -> tuple[str, bool]:
    """What the launcher says of the disk, and whether it is a warning: less is free than will be needed.

    Args:
        estimate: as `needed` gives it. folder: of the run. free: bytes that are free there.
    """
    total = sum(estimate.values())
    kinds = ", ".join(f"{kind} {size_text(num_bytes)}" for kind, num_bytes in estimate.items())
    text = f"about {size_text(total)} will be needed in {folder}" + (f" ({kinds})" if kinds else "")
    if total <= free:
        return f"{text}; {size_text(free)} are free there.", False
    return (
        f"{text}, but only {size_text(free)} are free there: {size_text(total - free)} too little. "
        "Take another output, or make room; what is done stays done if the disk becomes full.",
        True,
    )


def size_text(num_bytes: int) -> str:
    """As people write it: 1.2 GB; powers of ten."""
    for unit, power in (("TB", 12), ("GB", 9), ("MB", 6), ("kB", 3)):
        if num_bytes >= 10**power:
            return f"{num_bytes / 10**power:.1f} {unit}"
    return f"{num_bytes} bytes"
