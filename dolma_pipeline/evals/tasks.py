"""Task files: what is asked of a model, and how its answers are scored.

A file of items alone, JSON lines, is a task of the kind `choices`, or the named task that it is called like. A YAML
file beside the items says more: kind, examples, prompt, metric (`TaskConfig`). docs/evaluation.md is its reference.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal

from dolma_pipeline.config.keys import Key
from dolma_pipeline.config.typed import build_section
from dolma_pipeline.config.yaml import Located, read_yaml
from dolma_pipeline.errors import ConfigError, UsageError, unknown_name
from dolma_pipeline.evals.few_shot import Draw, Examples
from dolma_pipeline.evals.named import NAMED
from dolma_pipeline.evals.rows import Row, read_rows
from dolma_pipeline.evals.template import Template
from dolma_pipeline.io import paths
from dolma_pipeline.io.manifest import digest

ENDINGS = (".yaml", ".yml")
_COMPRESSED = (".gz", ".zst", ".zstd")
_FILE = ("a task file", "`items`")
_SHOTS = ("examples", "draw", "separator")
"""Keys that say nothing without `shots`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskConfig:
    """The keys of a task file."""

    items: Annotated[str, Key(purpose="JSON lines; a path that starts at this file", at_least=1)]
    preset: Annotated[str | None, Key(purpose="a named task whose keys hold where this file is silent")] = None
    kind: Annotated[str, Key(purpose="what is asked: `list tasks` shows the kinds", at_least=1)] = "choices"
    metric: Annotated[str | None, Key(purpose="the first of the metrics; all are reported")] = None
    prompt: Annotated[str | None, Key(purpose="template of what stands before the answer; default {context}")] = None
    answer: Annotated[str, Key(purpose="template of an answer: {choice}, {letter}", at_least=1)] = "{choice}"
    header: Annotated[str, Key(purpose="template of what stands before all, once")] = ""
    shots: Annotated[int, Key(purpose="examples before each item", at_least=0)] = 0
    examples: Annotated[str | None, Key(purpose="JSON lines that examples are drawn from")] = None
    draw: Annotated[Draw, Key(purpose="the first examples, or others for each item by a keyed hash")] = "first"
    seed: Annotated[int, Key(purpose="of the keyed draw, and of sampling", at_least=0)] = 0
    separator: Annotated[str, Key(purpose="behind each example")] = "\n\n"
    group: Annotated[str, Key(purpose="key of the items that examples share, and by which scores are shown")] = ""
    prefix: Annotated[Literal["eos", "none"], Key(purpose="the id before a prompt")] = "eos"
    neutral: Annotated[str, Key(purpose="context without a question, for acc_pmi", at_least=1)] = "Answer:"
    match: Annotated[Literal["number", "text"], Key(purpose="what of the answer must be the same")] = "number"
    max_tokens: Annotated[int, Key(purpose="that the model writes, at most", unit="tokens", at_least=1)] = 256
    stop: Annotated[tuple[str, ...], Key(purpose="texts before the first of which it ends", one_or_more=True)] = ()
    samples: Annotated[int, Key(purpose="texts for each prompt", at_least=1)] = 1
    temperature: Annotated[float, Key(purpose="of sampling; 0 takes the likeliest id each time", at_least=0)] = 0.0
    ks: Annotated[tuple[int, ...], Key(purpose="of pass@k", at_least=1)] = (1,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A task that was read and checked.

    name: of its results. config: all keys, resolved. items_path: of the file of items. rows: the items as they stand;
    none where the kind reads that file itself. examples: None where there is no file of them. metric: the first of its
    metrics. data: digest of the file of items. settings: digest of all else that scores depend on. path: of the file
    that names it.
    """

    name: str
    config: TaskConfig
    items_path: Path
    rows: tuple[Row, ...]
    examples: Examples | None
    metric: str
    data: str
    settings: str
    path: Path

    def template(self, key: str) -> Template:
        """The template under a key of the task file."""
        return Template(getattr(self.config, key), key=f"{self.path}: {key}")


def task_name(path: Path) -> str:
    """The name of a task's results: its file's, without what says how it is written."""
    return Path(path.stem).stem if path.suffix in _COMPRESSED else path.stem


def read_task(path: Path) -> Task:
    """The task in a file.

    Raises:
        UsageError: no such file.
        ConfigError: a task file with something wrong; names file, line and key.
        DataError: a file of items or examples that is not JSON lines.
    """
    from dolma_pipeline.evals.kinds import KINDS

    if path.suffix in ENDINGS:
        tree, key = read_yaml(str(path), kind=_FILE), f"{path}: items"
    else:
        key = "eval.tasks"
        tree = Located({"items": Located(path.name, str(path), str(path), path.name)}, str(path))
    given = _with_preset(tree, path)
    config: TaskConfig
    config, origin = build_section(TaskConfig, given)
    if config.kind not in KINDS:
        raise ConfigError(f"{origin['kind']}: kind: {unknown_name('kind', config.kind, KINDS)}")
    kind = KINDS[config.kind]
    _check_keys(config, origin, kind.keys)
    metrics = [f"pass@{k}" for k in config.ks] if "ks" in kind.keys else kind.metrics
    metric = config.metric or metrics[0]
    if metric not in metrics:
        raise ConfigError(f"{origin['metric']}: metric: {unknown_name('metric', metric, metrics)}")
    _check_values(config, origin)
    items = path.parent / paths.expanded(config.items)
    if not items.is_file():
        raise UsageError(f"{key}: {items}: no such file.")
    rows = () if kind.reads_file else tuple(read_rows(items, key=key))
    examples, examples_digest = None, ""
    if config.examples is not None:
        place = path.parent / paths.expanded(config.examples)
        found = read_rows(place, key=f"{path}: examples")
        examples = Examples(found, config.shots, config.draw, config.seed, config.group, str(place))
        examples_digest = f"sha256:{paths.sha256_file(place)}"
    said = {field.name: getattr(config, field.name) for field in fields(config)}
    shaping = {key: said[key] for key in sorted(kind.keys)} | {"kind": config.kind, "examples": examples_digest}
    return Task(
        name=task_name(path),
        config=config,
        items_path=items,
        rows=rows,
        examples=examples,
        metric=metric,
        data=f"sha256:{paths.sha256_file(items)}",
        settings=digest(shaping),
        path=path,
    )


def files_of(path: Path) -> list[str]:
    """The files that a task file names, as it names them; none of a file of items.

    Raises:
        ConfigError: as `read_task`, of the task file alone.
    """
    if path.suffix not in ENDINGS:
        return []
    config, _ = build_section(TaskConfig, _with_preset(read_yaml(str(path), kind=_FILE), path))
    return [name for name in (config.items, config.examples) if name]


def _with_preset(tree: Located, path: Path) -> Located:
    """The tree with the keys of its preset: of the one that it names, or of the one that the file is called like."""
    assert isinstance(tree.value, dict)
    said = tree.value.get("preset")
    name = said.value if said is not None else task_name(path)
    if not isinstance(name, str) or name not in NAMED:
        if said is not None and isinstance(name, str):
            raise ConfigError(f"{said.place}: preset: {unknown_name('preset', name, NAMED)}")
        return tree
    own = {key: _located(value, f"{path}: preset {name}") for key, value in NAMED[name].keys.items()}
    return Located({**own, **tree.value}, tree.place)


def _located(value: Any, place: str) -> Located:
    inner = [_located(one, place) for one in value] if isinstance(value, list) else value
    return Located(inner, place, place, str(value), quoted=isinstance(value, str))


def _check_keys(config: TaskConfig, origin: Mapping[str, str], keys: frozenset[str]) -> None:
    """A key that would change nothing is an error."""
    for key, place in origin.items():
        name = key.partition(".")[0]
        if name not in keys | {"items", "preset", "kind", "metric"}:
            raise ConfigError(f"{place}: {name}: has no effect on a task of kind {config.kind}; leave it out")
        if name in _SHOTS and not config.shots:
            raise ConfigError(f"{place}: {name}: has no effect without `shots`; add `shots: 5`, or leave it out")
    if config.shots and config.examples is None and "examples" in keys:
        raise ConfigError(f"{origin['shots']}: shots: needs `examples`, a file of JSON lines to draw them from")
    if config.samples > 1 and not config.temperature:
        raise ConfigError(f"{origin['samples']}: samples: all would be the same with temperature 0; set `temperature`")
    if "seed" in origin and config.draw == "first" and not config.temperature:
        with_what = "`draw: keyed`" + (", or a `temperature`" if "temperature" in keys else "")
        raise ConfigError(f"{origin['seed']}: seed: has no effect without {with_what}")


def _check_values(config: TaskConfig, origin: Mapping[str, str]) -> None:
    """What would fail, or score nothing, only once a model was loaded."""
    if "answer" in origin and not {"choice", "letter"} & {*Template(config.answer, key=origin["answer"]).keys}:
        raise ConfigError(
            f"{origin['answer']}: answer: {config.answer!r} is the same for all choices; it needs {{choice}} or "
            "{letter}"
        )
    if "" in config.stop:
        place = next(place for key, place in origin.items() if key.partition(".")[0] == "stop")
        raise ConfigError(f"{place}: stop: has an empty text, before which nothing can be written; leave it out")
    if max(config.ks) > config.samples:
        raise ConfigError(
            f"{origin['ks']}: ks: pass@{max(config.ks)} needs `samples: {max(config.ks)}` or more; samples is "
            f"{config.samples}"
        )
