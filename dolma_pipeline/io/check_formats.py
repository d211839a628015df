"""Files of no known format, found before work starts, and what the launcher says of them.

Bounded: the first bytes of at most 10,000 files, evenly chosen, the same ones every time; of a file that begins as
Parquet the last bytes too. What is not looked at is told when it is read. Cost: about 0.1 ms a file.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from typing import BinaryIO

from dolma_pipeline.io.format_parquet import MAGIC
from dolma_pipeline.io.formats import document_format, known_formats
from dolma_pipeline.io.heads import RAW_BYTES, first_bytes
from dolma_pipeline.io.seems import Finding, seems


def check_formats(
    files: Iterable[tuple[str, Callable[[str], BinaryIO]]], *, most: int = 10_000, head_bytes: int = RAW_BYTES
) -> list[Finding]:
    """The files that no format recognizes and that hold something, in the order given.

    Args:
        files: path, and what opens it. most: files that are looked at. head_bytes: read of each.

    Raises:
        OSError: a file that cannot be opened or read.
    """
    everything = list(files)
    num_looked_at = min(most, len(everything))
    chosen = [everything[i * len(everything) // num_looked_at] for i in range(num_looked_at)]
    findings = []
    for path, open_file in chosen:
        with open_file(path) as file:
            head = first_bytes(file, head_bytes)
            finding = seems(head, name=path) or _parquet_without_end(file, head, path, whole=len(head) < head_bytes)
        if finding is not None:
            findings.append(finding)
    return findings


def told(findings: Sequence[Finding], *, lost: int = 0, most: int = 5) -> str:
    """What the launcher says of them: the first `most` files, what each seems to be, what to do; empty if none.

    Args:
        lost: files that an earlier run could not read to their end, which count too.
    """
    if not findings:
        return ""
    count = len(findings)
    of_no_format = "1 file is" if count == 1 else f"{count} files are"
    lines = [f"{of_no_format} of no format that is read ({', '.join(sorted(f.name for f in known_formats()))}):"]
    lines += [f"  {finding.path}: seems to be {finding.what}. {finding.advice}" for finding in findings[:most]]
    if count > most:
        lines.append(f"  … and {count - most} more.")
    them = "it" if count == 1 else "them"
    allow = f"allow {them} with max_failed_files={count + lost}"
    allow += f" ({lost} could not be read to the end before)" if lost else ""
    lines.append(f"Nothing was started. Take {them} out of the sources, or {allow}.")
    return "\n".join(lines)


def _parquet_without_end(file: BinaryIO, head: bytes, path: str, *, whole: bool) -> Finding | None:
    """Parquet whose last four bytes are not its mark: a copy or download that broke off."""
    if not document_format("parquet").recognizes(head, path):
        return None
    if whole:
        end = head[-4:]
    elif file.seekable():
        file.seek(-4, os.SEEK_END)
        end = first_bytes(file, 4)
    else:
        return None
    if len(head) >= 12 and end == MAGIC:
        return None
    return Finding(path, "Parquet whose end is missing", "Copy or download it again.")
