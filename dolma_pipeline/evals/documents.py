"""Documents of files to measure bits per byte on, by domain.

Paloma (Magnusson et al. 2023, arXiv 2312.10523) shows why: one corpus' perplexity hides what a model learned of others.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from dolma_pipeline.errors import DataError, UsageError
from dolma_pipeline.evals.rows import read_rows
from dolma_pipeline.io import paths


class Domain(NamedTuple):
    """Documents of one domain. ids: of each document. data: digest of the files, in their order."""

    ids: Sequence[str]
    texts: Sequence[str]
    data: str


def read_domain(name: str, files: Sequence[str]) -> Domain:
    """The documents of a domain: JSON lines with a `text`, plain, gzip or zstd.

    Args:
        files: paths; `~` stands for a home.

    Raises:
        UsageError: no such file, or a name of which no file of results can be made.
        DataError: a line without a text; names file and line.
    """
    if "=" in name or {"", ".", ".."} & {*name.split("/")}:
        raise UsageError(
            f"eval.documents: a domain is called {name!r}; results are filed by the name, so it must be one or more "
            "words with / between them, without = in it."
        )
    ids, texts, digest = list[str](), list[str](), hashlib.sha256()
    for path in (Path(paths.expanded(file)) for file in files):
        for row in read_rows(path, key=f"eval.documents.{name}"):
            text = row.values.get("text")
            if not isinstance(text, str):
                raise DataError(f'{row.place}: "text" is {str(text)[:60]!r}; it must be a text.')
            ids.append(row.id)
            texts.append(text)
        digest.update(bytes.fromhex(paths.sha256_file(path)))
    return Domain(ids, texts, f"sha256:{digest.hexdigest()}")


Domains = Mapping[str, Domain]


def read_domains(documents: Mapping[str, Sequence[str]]) -> Domains:
    """All domains of `eval.documents`, by name."""
    return {name: read_domain(name, files) for name, files in documents.items()}
