"""Score saved steps and write `eval/step-000200.json`: numbers, and digests of the data, weights and tokenizer.

Nothing in the files differs between equal runs. What a step has been scored on already, by its digests, is not scored
again. Cost: with `tiny` about 15,000 tokens a CPU-second.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from dolma_pipeline.config.recipe import EvalConfig
from dolma_pipeline.errors import DataError, UsageError
from dolma_pipeline.evals.documents import Domains, read_domains
from dolma_pipeline.evals.kinds import KINDS
from dolma_pipeline.evals.results import add, begun, is_there, results_path, rows_path, variant
from dolma_pipeline.evals.sandbox import require_sandbox
from dolma_pipeline.evals.tasks import Task, read_task, task_name
from dolma_pipeline.io import paths
from dolma_pipeline.io.manifest import digest
from dolma_pipeline.train.files import Settings, read_settings
from dolma_pipeline.train.source import kept_special_tokens

if TYPE_CHECKING:
    from dolma_pipeline.evals.scored import Scored
    from dolma_pipeline.evals.subject import Subject
    from dolma_pipeline.tokens.tokenizer import TokenizerInfo


WROTE = "eval: wrote "
"""A line of progress that starts so names a file of results."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a call may ask beyond the recipe.

    limit: only so many items of each task, and documents of each source; None is all. weights: the run folder that the
    checkpoints are read from, where it is not the run's own. held_out: the run folder whose held-out documents are
    scored, where it is not the run's own: those of `sft` and `dpo` have none. redo: score again what is there.
    allow_code: code that the model writes may be run.
    """

    limit: int | None = None
    weights: Path | None = None
    held_out: Path | None = None
    redo: bool = False
    allow_code: bool = False

    def __post_init__(self) -> None:
        """Raises UsageError for a limit that leaves nothing."""
        if self.limit is not None and self.limit < 1:
            raise UsageError(f"limit is {self.limit}; it must be at least 1 (without it, all items are scored).")


def evaluate(run_dir: Path, step: int, config: EvalConfig, options: Options | None = None) -> dict[str, Any]:
    """Score the checkpoint of `step` in this process, write the results and return them.

    Args:
        run_dir: with tokenizer/, tokens/ and train/.
        step: a saved one; 0 is the model before training.
        config: what to score it on. Task files are named by their path; their stem names the results.

    Returns:
        format, step, tokens (seen in training), digests, held_out, documents, tasks: each name -> numbers, of all that
        this step was scored on so far.

    Raises:
        RunError: the run is not trained, that step is not saved, or its numbers are not finite.
        UsageError: no held-out documents, or no such task file, or two of one name.
        ConfigError: a task file with something wrong.
        DataError: items, documents, a shard or tokenizer that is not what it should be; names the place.
    """
    return Evaluation(run_dir, config, options or Options()).score(step)


@dataclass(frozen=True)
class _Part:
    """A task, source or domain. stands_on: what an entry of before must have to stand; digests, and a task's metric."""

    section: str
    name: str
    stands_on: Mapping[str, str]
    task: Task | None = None
    items: Sequence[Any] = field(default=())


class Evaluation:
    """What is scored, read and checked once, for any number of steps."""

    def __init__(self, run_dir: Path, config: EvalConfig, options: Options) -> None:
        """Read tasks, documents and settings; loads no torch.

        Raises:
            As `evaluate`, but for what is wrong with a step.
        """
        self._run_dir, self._config, self._options = run_dir, config, options
        self._weights = options.weights or run_dir
        self._settings: Settings = read_settings(self._weights)
        self._tasks, self._domains = check_tasks(config, allow_code=options.allow_code)
        self._documents = options.held_out or run_dir
        self._sources = held_out_sources(self._documents) if config.held_out else []
        self._tokenizer = run_tokenizer(run_dir, self._settings)
        if self._sources and options.held_out is not None:
            require_tokenizer_of(options.held_out, run_dir)
        if options.weights is not None:
            require_one_tokenizer(run_dir, options.weights)
        if not (self._sources or self._domains or self._tasks):
            raise UsageError("eval: there is nothing to score: no held-out documents, no documents and no tasks.")

    def score(self, step: int) -> dict[str, Any]:
        """Score one step; see `evaluate`."""
        import numpy as np
        import pyarrow as pa

        from dolma_pipeline.evals.score import saved_model, weights_digest
        from dolma_pipeline.evals.subject import Subject
        from dolma_pipeline.tokens.encode import encoder

        text = encoder(self._tokenizer)

        def encode(texts: Sequence[str]) -> list[Any]:
            return [row.values.to_numpy().astype(np.int64) for row in text.encode(pa.array(texts, pa.string()))]

        model = saved_model(self._weights, step, settings=self._settings)
        weights = weights_digest(model)
        if self._config.precision == "bf16":
            import torch

            model.to(torch.bfloat16)
        subject = Subject(
            model=model,
            eos_id=self._settings.eos_id,
            encode=encode,
            decode=text.decode,
            step=step,
            allow_code=self._options.allow_code,
        )
        head = {
            "step": step,
            "tokens": step * self._settings.train.batch_tokens,
            "digests": {
                "train_data": self._settings.dataset,
                "tokenizer": f"sha256:{self._tokenizer.sha256}",
                "weights": weights,
                "model": digest({"eos_id": self._settings.eos_id, **self._settings.model_record()}),
            },
        }
        elsewhere = weights.removeprefix("sha256:")[:12] if self._weights != self._run_dir else ""
        kind = variant(limit=self._options.limit, precision=self._config.precision, weights=elsewhere)
        if kind:
            head |= {"limit": self._options.limit, "precision": self._config.precision}
        results = begun(results_path(self._run_dir, step, kind), head)
        for part in self._parts():
            rows = rows_path(self._run_dir, step, part.section, part.name, kind)
            if not self._options.redo and is_there(results, part.section, part.name, part.stands_on, rows):
                _say(f"step {step}, {part.name}: scored already")
                continue
            found = self._score(subject, part)
            entry = {**found.numbers, **part.stands_on}
            lines = [item.row() for item in found.items]
            results = add(self._run_dir, head, part.section, part.name, entry, lines, variant=kind)
            _say(f"step {step}, {part.name}: {told(entry)}")
        _say(f"wrote {results_path(self._run_dir, step, kind)}")
        return results

    def _parts(self) -> list[_Part]:
        from dolma_pipeline.evals.held_out import folder_digest

        limit = self._options.limit
        sources = [_Part("held_out", one, {"data": folder_digest(self._held_out(one))}) for one in self._sources]
        domains = [_Part("documents", name, {"data": one.data}) for name, one in self._domains.items()]
        tasks = [
            _Part(
                "tasks",
                name,
                {
                    "kind": task.config.kind,
                    "metric": task.metric,
                    "data": task.data,
                    "settings": task.settings,
                },
                task,
                items[:limit],
            )
            for name, (task, items) in self._tasks.items()
        ]
        return [*sources, *domains, *tasks]

    def _held_out(self, source: str) -> Path:
        return self._documents / "tokens" / "held_out" / source

    def _score(self, subject: Subject, part: _Part) -> Scored:
        from dolma_pipeline.evals.held_out import bits_per_byte, read_documents

        limit = self._options.limit
        if part.task is not None:
            return KINDS[part.task.config.kind].score(subject, part.task, part.items)
        if part.section == "documents":
            domain = self._domains[part.name]
            return bits_per_byte(subject, part.name, subject.encode(domain.texts[:limit]), ids=domain.ids[:limit])
        size = self._settings.model.vocab_size
        found = list(read_documents(self._held_out(part.name), eos_id=subject.eos_id, vocab_size=size))[:limit]
        return bits_per_byte(subject, part.name, found, ids=map(str, range(len(found))))


def told(entry: Mapping[str, Any]) -> str:
    """The first number of an entry, for a line of progress."""
    if "metric" not in entry:
        return f"{entry['bits_per_byte']:.4f} bits/byte"
    chance = f", chance {entry['chance']:.3f}" if "chance" in entry else ""
    return f"{entry['metric']} {entry[entry['metric']]:.3f}{chance}"


def run_tokenizer(run_dir: Path, settings: Settings) -> TokenizerInfo:
    """The tokenizer of a run; what was a special token when the data was made is one here, whoever named it.

    Raises:
        DataError: not a tokenizer, or not that of the model.
    """
    from dolma_pipeline.tokens.tokenizer import load_tokenizer

    manifest = run_dir / "tokenizer" / "manifest.json"
    record = orjson.loads(manifest.read_bytes()) if manifest.is_file() else {}
    special = record.get("tokenizer", {}).get("special") or kept_special_tokens(run_dir)
    path = run_dir / "tokenizer" / "tokenizer.json"
    found = load_tokenizer(path, special_tokens=[*special], engine="tokenizers")
    by_id = {id_: token for token, id_ in {**found.added_ids, **found.special_ids}.items()}
    if settings.eos_id in by_id and by_id[settings.eos_id] not in found.special_ids:
        found = load_tokenizer(path, special_tokens=[*special, by_id[settings.eos_id]], engine="tokenizers")
    if found.num_ids > settings.model.vocab_size:
        raise DataError(
            f"{path}: has {found.num_ids} ids, but the model's vocabulary has {settings.model.vocab_size}; it is not "
            "the tokenizer that the model was trained with."
        )
    return found


def require_one_tokenizer(run_dir: Path, weights: Path) -> None:
    """Refuse a model that was trained with another tokenizer, whose ids would be scored as if they meant the same.

    Args:
        weights: the run folder that the checkpoints are read from.

    Raises:
        UsageError: its tokenizer is another one; or it has none, and was trained on other token parts.
    """
    ours, theirs = (folder / "tokenizer" / "tokenizer.json" for folder in (run_dir, weights))
    if not theirs.is_file():  # checkpoints alone: those of the same token parts are of the same tokenizer
        own = run_dir / "train" / "config.json"
        if own.is_file() and read_settings(weights).dataset == read_settings(run_dir).dataset:
            return
        raise UsageError(
            f"{theirs}: no such file, and {weights / 'train' / 'config.json'} names other token parts than this run's, "
            "so nobody knows which tokenizer the checkpoint was trained with. Put its tokenizer there."
        )
    if paths.sha256_file(ours) != paths.sha256_file(theirs):
        raise UsageError(
            f"{theirs} is not the tokenizer in {ours}, so the checkpoint cannot be scored on this run's data. Score it "
            f"in its own run: dolma-pipeline eval {weights}"
        )


def require_tokenizer_of(held_out: Path, run_dir: Path) -> None:
    """Refuse held-out documents that were encoded with another tokenizer than the model's.

    Args:
        held_out: the run folder that they lie in. run_dir: of the model.

    Raises:
        UsageError: its tokenizer is another one, or it has none.
    """
    theirs, ours = (folder / "tokenizer" / "tokenizer.json" for folder in (held_out, run_dir))
    if not theirs.is_file() or paths.sha256_file(theirs) != paths.sha256_file(ours):
        raise UsageError(
            f"{ours}: not the tokenizer that the held-out documents in {held_out / 'tokens'} were encoded with, so "
            "they cannot be scored. Write eval.held_out: false; eval.documents takes texts, whatever the tokenizer."
        )


def held_out_sources(run_dir: Path) -> list[str]:
    """Sources that have held-out documents, sorted; a source of which none was held out is not among them.

    Raises:
        UsageError: there are none at all.
    """
    folder = run_dir / "tokens" / "held_out"
    lines = run_dir / "tokens" / "shards.jsonl"
    records = map(orjson.loads, lines.read_bytes().splitlines()) if lines.is_file() else ()
    listed = [record["shard"].split("/") for record in records]
    sources = [source for split, source, *_ in listed if split == "held_out"]
    if not listed:  # parts that were made elsewhere
        sources = [part.parent.relative_to(folder).as_posix() for part in folder.glob("*/part-*.npy")]
    if not sources:
        raise UsageError(
            f"eval.held_out is true, but {folder} has no documents. Hold some out with mix.held_out "
            "(a larger share, if there is one), or set eval.held_out: false."
        )
    return sorted(set(sources))


def task_files(config: EvalConfig) -> dict[str, Path]:
    """Name -> path of the task files, in the recipe's order.

    Raises:
        UsageError: two files of one name.
    """
    files: dict[str, Path] = {}
    for path in (Path(paths.expanded(task)) for task in config.tasks):
        if (name := task_name(path)) in files:
            raise UsageError(f"eval.tasks: {files[name]} and {path} have the same name; rename one of them.")
        files[name] = path
    return files


def read_tasks(config: EvalConfig) -> dict[str, tuple[Task, Sequence[Any]]]:
    """Name -> task and its items, each checked.

    Raises:
        As `read_task`, and DataError: an item that is not what its kind takes.
    """
    tasks = {name: read_task(path) for name, path in task_files(config).items()}
    return {name: (task, KINDS[task.config.kind].read(task)) for name, task in tasks.items()}


def check_tasks(config: EvalConfig, *, allow_code: bool) -> tuple[dict[str, tuple[Task, Sequence[Any]]], Domains]:
    """Tasks with their items, and domains, all read and checked; loads no torch.

    Raises:
        As `read_tasks` and `read_domains`, and UsageError: programs are to be run without permission or a sandbox.
    """
    tasks, domains = read_tasks(config), read_domains(config.documents)
    if any(task.config.kind == "code" for task, _ in tasks.values()):
        require_sandbox(allow_code=allow_code)
    return tasks, domains


def _say(text: str) -> None:
    print(f"eval: {text}", file=sys.stderr, flush=True)
