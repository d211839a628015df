"""Scores while a model trains: each checkpoint that is due is scored as `eval` would score it later.

What is scored is the checkpoint just written, in float32 or as `eval.precision` says, not the weights as training
holds them: so the numbers are those of `eval`, whatever training computes in, and `eval` does not score it again.
Cost: another copy of the weights for that time, spread over all processes, and the time of scoring.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import orjson

from dolma_pipeline.config.recipe import EvalConfig
from dolma_pipeline.errors import DataError
from dolma_pipeline.evals.run import Evaluation, Options
from dolma_pipeline.io import paths
from dolma_pipeline.io.manifest import pretty
from dolma_pipeline.train.files import train_folder
from dolma_pipeline.train.world import World

Scorer = Callable[[int, World], None]


def write_online(run_dir: Path, config: EvalConfig, *, inside: bool = False) -> None:
    """Write `train/eval.json`, what checkpoints are scored on; paths in it become absolute.

    Args:
        run_dir: of the run, or of a stage that goes on with a model in it, which is `inside`: then held-out documents
            are those of the folder above.
    """
    content = {"inside": inside} if inside else {}
    content |= asdict(config) | {
        "tasks": [str(Path(paths.expanded(task)).absolute()) for task in config.tasks],
        "documents": {
            domain: [str(Path(paths.expanded(file)).absolute()) for file in files]
            for domain, files in config.documents.items()
        },
    }
    paths.write_bytes(_path(run_dir), pretty(content))


def scorer(run_dir: Path) -> Scorer:
    """What scores the checkpoint of a step; all processes of a world call it together.

    Raises:
        DataError: there is no `train/eval.json`, or it is damaged.
        UsageError, ConfigError, DataError: what `Evaluation` raises, now and not after hours.
    """
    from dolma_pipeline.evals.sharded import led

    path = _path(run_dir)
    if not path.is_file():
        raise DataError(
            f"{path}: no such file; eval_every_steps needs it. `dolma-pipeline train` (or sft, or dpo), also with "
            "--config-only, writes it."
        )
    try:
        content = orjson.loads(path.read_bytes())
        inside = content.pop("inside", False)
        documents = {domain: tuple(files) for domain, files in content["documents"].items()}
        lists = {key: tuple(content[key]) for key in ("tasks", "stages") if key in content}
        config = EvalConfig(**content | lists | {"documents": documents})
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path}: damaged ({error}). Write it again: dolma-pipeline train RECIPE --config-only"
        ) from None
    evaluation = Evaluation(run_dir, config, Options(held_out=run_dir.parent if inside else None))

    def score(step: int, world: World) -> None:
        led(run_dir, world, lambda: evaluation.score(step))

    return score


def _path(run_dir: Path) -> Path:
    return train_folder(run_dir) / "eval.json"
