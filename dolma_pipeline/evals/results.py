"""Files of results: one a step, to which tasks are added, and beside it one a task with a line an item.

eval/step-000200.json                   scores by section and name, with digests of all that they come from
eval/step-000200/arc_easy.jsonl         the items of a task: id, scores, nats
eval/step-000200/held_out/web.jsonl     the documents of a source; documents/… of a domain
eval/limit-100/step-000200.json         scores of the first 100 items: another folder, so none is taken for a whole one

An entry is replaced by one of the same name, and stays when other tasks are scored. All go when the step has other
weights, another shape, or was scored with another tokenizer.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from dolma_pipeline.errors import DataError
from dolma_pipeline.io import paths
from dolma_pipeline.io.manifest import pretty

FORMAT = 2
SECTIONS = ("held_out", "documents", "tasks")
FOLDER = "eval"


def variant(*, limit: int | None = None, precision: str = "fp32", weights: str = "") -> str:
    """The folder below `eval` of results that are not to be mixed with others; "" of whole ones in fp32.

    Args:
        weights: of a checkpoint from elsewhere, what tells it from this run's; else "".
    """
    parts = [weights, "" if precision == "fp32" else precision, f"limit-{limit}" if limit else ""]
    return "-".join(part for part in parts if part)


def results_path(run_dir: Path, step: int, variant: str = "") -> Path:
    """Where the results of a step lie."""
    return run_dir / FOLDER / variant / f"step-{step:06d}.json"


def rows_path(run_dir: Path, step: int, section: str, name: str, variant: str = "") -> Path:
    """Where the items of a task, or the documents of a source or domain, lie."""
    folder = results_path(run_dir, step, variant).with_suffix("")
    return (folder if section == "tasks" else folder / section) / f"{name}.jsonl"


def read_results(path: Path) -> dict[str, Any] | None:
    """The results of a step; None if there are none, or of a format of before.

    Raises:
        DataError: not a file of results.
    """
    if not path.is_file():
        return None
    try:
        found = orjson.loads(path.read_bytes())
        return found if found["format"] == FORMAT else None
    except (orjson.JSONDecodeError, KeyError, TypeError):
        raise DataError(f"{path}: not a file of results. Remove it, and score that step again.") from None


def is_there(results: Mapping[str, Any], section: str, name: str, digests: Mapping[str, str], rows: Path) -> bool:
    """Whether results hold an entry of these digests, with its rows as they were written."""
    entry = results[section].get(name)
    if entry is None or any(entry.get(key) != value for key, value in digests.items()):
        return False
    return rows.is_file() and entry["rows"] == f"sha256:{paths.sha256_file(rows)}"


def add(
    run_dir: Path, head: Mapping[str, Any], section: str, name: str, entry: Mapping[str, Any], rows: Sequence[Any],
    *, variant: str = "",
) -> dict[str, Any]:  # fmt: skip
    """Write the rows of an entry, and the entry among those that the step has; gives all of them.

    Args:
        head: what the file says of the step: `step`, `tokens`, `digests`, …. Entries of other digests go, and their
            rows.
    """
    path = results_path(run_dir, head["step"], variant)
    content = b"".join(orjson.dumps(row, option=orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE) for row in rows)
    with _alone(run_dir):
        results = begun(path, head)
        if not any(results[one] for one in SECTIONS):
            shutil.rmtree(path.with_suffix(""), ignore_errors=True)
        paths.write_bytes(rows_path(run_dir, head["step"], section, name, variant), content)
        results[section][name] = {**entry, "rows": f"sha256:{hashlib.sha256(content).hexdigest()}"}
        paths.write_bytes(path, pretty(results))
    return results


def begun(path: Path, head: Mapping[str, Any]) -> dict[str, Any]:
    """The results that a file has, where they are of the same step, model and tokenizer; else none but the head."""
    found = read_results(path)
    if found is None or found["digests"] != head["digests"]:
        found = {section: {} for section in SECTIONS}
    return {**found, "format": FORMAT, **head}


@contextlib.contextmanager
def _alone(run_dir: Path) -> Iterator[None]:
    """While no other process adds to the results of a run on this machine."""
    path = run_dir / "log" / "eval.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
