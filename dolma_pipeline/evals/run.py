"""Score a saved step and write `eval/step-000200.json`: numbers, and digests of the data, weights and tokenizer.

Nothing in the file differs between equal runs. Cost: with `tiny` about 15,000 tokens a CPU-second.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from dolma_pipeline.config.recipe import EvalConfig
from dolma_pipeline.errors import UsageError
from dolma_pipeline.io import paths
from dolma_pipeline.io.manifest import pretty
from dolma_pipeline.train.files import read_settings

FORMAT = 1


def results_path(run_dir: Path, step: int) -> Path:
    """Where the results of a step lie."""
    return run_dir / "eval" / f"step-{step:06d}.json"


def evaluate(run_dir: Path, step: int, config: EvalConfig) -> dict[str, Any]:
    """Score the checkpoint of `step` in this process, write the results and return them.

    Args:
        run_dir: with tokenizer/, tokens/ and train/.
        step: a saved one; 0 is the model before training.
        config: what to score it on. Task files are named by their path; their stem names the results.

    Returns:
        format, step, tokens (seen in training), digests, held_out (source -> numbers), tasks (name -> numbers).

    Raises:
        RunError: the run is not trained, or that step is not saved.
        UsageError: no held-out documents, or no such task file, or two of one name.
        DataError: a task file, shard or tokenizer that is not what it should be; names the place.
    """
    import numpy as np
    import pyarrow as pa

    from dolma_pipeline.evals.choices import rank_answers
    from dolma_pipeline.evals.held_out import bits_per_byte, folder_digest, read_documents
    from dolma_pipeline.evals.score import saved_model, weights_digest
    from dolma_pipeline.evals.tasks import read_items
    from dolma_pipeline.tokens.encode import encoder
    from dolma_pipeline.tokens.tokenizer import load_tokenizer

    settings = read_settings(run_dir)
    sources = held_out_sources(run_dir) if config.held_out else []
    tasks = {name: read_items(path) for name, path in task_files(config).items()}
    tokenizer = load_tokenizer(run_dir / "tokenizer" / "tokenizer.json", engine="tokenizers")
    text = encoder(tokenizer)
    model = saved_model(run_dir, step, settings=settings)
    results: dict[str, Any] = {
        "format": FORMAT,
        "step": step,
        "tokens": step * settings.train.batch_tokens,
        "digests": {
            "train_data": settings.dataset,
            "tokenizer": f"sha256:{tokenizer.sha256}",
            "weights": weights_digest(model),
        },
        "held_out": {},
        "tasks": {},
    }

    def encode(texts: Sequence[str]) -> list[Any]:
        return [row.values.to_numpy().astype(np.int64) for row in text.encode(pa.array(texts, pa.string()))]

    for source in sources:
        folder = run_dir / "tokens" / "held_out" / source
        documents = list(read_documents(folder, eos_id=settings.eos_id, vocab_size=settings.model.vocab_size))
        numbers = bits_per_byte(model, documents, eos_id=settings.eos_id, decode=text.decode)
        results["held_out"][source] = {**numbers, "data": folder_digest(folder)}
        _say(f"step {step}, {source}: {numbers['bits_per_byte']:.4f} bits/byte")
    for name, path in task_files(config).items():
        ranking = rank_answers(model, tasks[name], eos_id=settings.eos_id, encode=encode)
        results["tasks"][name] = {**ranking, "data": f"sha256:{paths.sha256_file(path)}"}
        _say(f"step {step}, {name}: acc {ranking['acc']:.3f}, chance {ranking['chance']:.3f}")
    paths.write_bytes(results_path(run_dir, step), pretty(results))
    return results


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
        if path.stem in files:
            raise UsageError(f"eval.tasks: {files[path.stem]} and {path} have the same name; rename one of them.")
        files[path.stem] = path
    return files


def _say(text: str) -> None:
    print(f"eval: {text}", file=sys.stderr, flush=True)
