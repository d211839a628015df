"""What comes before SFT and DPO: the model's tokenizer, the examples made with it, the settings. Does not load torch.

The folder of such a stage, `<run>/sft` or `<run>/dpo`, is laid out as a run's: `train`, `tokenizer`, `log`, and
`data` with the examples; so whatever reads a trained run reads it, and the next stage can start from it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from dolma_pipeline.config.recipe import DpoConfig, SftConfig
from dolma_pipeline.errors import UsageError
from dolma_pipeline.io import paths
from dolma_pipeline.tokens.encode import encoder
from dolma_pipeline.tokens.tokenizer import load_tokenizer
from dolma_pipeline.train.adapted import dialogues, pairs, write_examples
from dolma_pipeline.train.chat import Template
from dolma_pipeline.train.files import Init, Settings, committed_steps, instances_of, read_settings, write_config
from dolma_pipeline.train.source import Source, keep_special_tokens
from dolma_pipeline.train.spec import Shape


def prepare(
    run_dir: Path,
    config: SftConfig,
    *,
    source: Callable[[], Source],
    init: Init,
    files: Sequence[str],
    hashes: Sequence[str],
    seed: int,
) -> Settings:
    """Make examples and `train/config.json`; where there are checkpoints, only look whether they were made so.

    Args:
        run_dir: of the stage. source: gives the model to start from; not asked where training has begun.
        init: what it starts from. files: JSON lines, in order. hashes: hex sha256 of each. seed: the recipe's.

    Raises:
        UsageError: no tokenizer beside the model, or fewer examples than a batch.
        DataError: rows that are no dialogues, or pairs.
        SettingsChangedError: there are checkpoints that were made with other settings.
    """
    begun = bool(committed_steps(run_dir))
    eos_id, model = _begun(run_dir) if begun else _started(run_dir, config, source(), files, hashes)
    manifest = json.loads((run_dir / "data" / "examples.json").read_bytes())
    return write_config(
        run_dir,
        with_length(config, manifest["counts"]["instances"]),
        vocab_size=model.vocab_size,
        eos_id=eos_id,
        dataset=manifest["dataset"],
        seed=seed,
        init=init,
        model=model,
    )


def with_length(config: SftConfig, num_instances: int) -> SftConfig:
    """The section with the tokens and the warm-up that its epochs come to.

    Raises:
        UsageError: fewer instances than a batch.
    """
    batch = instances_of(config)
    steps = config.epochs * (num_instances // batch)
    if steps == 0:
        what = "pairs" if isinstance(config, DpoConfig) else "sequences of dialogues"
        key = f"{config.objective}.batch_tokens"
        raise UsageError(f"{key}: a batch is {batch} {what}, but there are {num_instances} in all; lower it.")
    return replace(config, max_tokens=steps * config.batch_tokens, warmup_steps=round(config.warmup_share * steps))


def _begun(run_dir: Path) -> tuple[int, Shape]:
    settings = read_settings(run_dir)
    return settings.eos_id, settings.model


def _started(
    run_dir: Path, config: SftConfig, source: Source, files: Sequence[str], hashes: Sequence[str]
) -> tuple[int, Shape]:
    """Copy the tokenizer and make the examples; returns the id of EOS and the shape."""
    if not source.tokenizer.is_file():
        raise UsageError(f"{source.tokenizer}: no such file; dialogues are encoded with the tokenizer of the model.")
    path = run_dir / "tokenizer" / "tokenizer.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    paths.write_bytes(path, source.tokenizer.read_bytes())
    keep_special_tokens(run_dir, source.special_tokens)
    info = load_tokenizer(path, special_tokens=source.special_tokens)
    eos_id = source.eos_id
    make = pairs if isinstance(config, DpoConfig) else dialogues
    template = Template(config.template, encoder(info), eos_id)
    examples, counts = make(files, template=template, length=config.sequence_length)
    write_examples(
        run_dir / "data", examples, about={"counts": counts, "data": [*hashes], "template": asdict(config.template)}
    )
    for line in remarks_of(counts):
        print(f"{config.objective}: {line}", file=sys.stderr, flush=True)
    return eos_id, replace(source.model, sequence_length=config.sequence_length)


def remarks_of(counts: Mapping[str, int]) -> list[str]:
    """What there is to say of examples, a line each."""
    kind = "pairs" if "pairs" in counts else "dialogues"
    found = [
        f"{counts[kind]:,} {kind}, {counts['instances']:,} {'kept' if kind == 'pairs' else 'sequences'}, "
        f"{counts['scored_tokens']:,} of {counts['tokens']:,} tokens are answers"
    ]
    if counts["cut"]:
        found.append(f"{counts['cut']:,} {kind} were longer than a sequence, and cut")
    if counts["without_answer"]:
        found.append(f"{counts['without_answer']:,} {kind} are left out: no answer, or none within a sequence")
    if counts.get("equal"):
        found.append(f"{counts['equal']:,} pairs are left out: both answers are the same")
    return found
