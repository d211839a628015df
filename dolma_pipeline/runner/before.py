"""What can be known of a run before it starts: files of no known format, the disk it needs, budgets out of reach.

Cost: the first bytes of each new file (0.3 ms), of at most 10,000 files.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from dolma_pipeline.config.recipe import MixConfig, Recipe
from dolma_pipeline.errors import UsageError
from dolma_pipeline.io import disk
from dolma_pipeline.io.check_formats import check_formats, told
from dolma_pipeline.io.format_jsonl import is_plain
from dolma_pipeline.io.paths import expanded
from dolma_pipeline.run.artifact import Artifact
from dolma_pipeline.run.manifests import read_manifest
from dolma_pipeline.run.run import Run
from dolma_pipeline.run.shards import Locations
from dolma_pipeline.run.stage import Stage, stages_in_order
from dolma_pipeline.runner.failures import lost_files
from dolma_pipeline.runner.inputs import Inputs
from dolma_pipeline.stages.dedupe.kinds import kind_of
from dolma_pipeline.stages.dedupe.span_kinds import units_artifact
from dolma_pipeline.stages.dedupe.steps import electing_steps, span_steps
from dolma_pipeline.stages.mix.planning import Unit, budget_of
from dolma_pipeline.storage.inputs import is_url, location, open_stream
from dolma_pipeline.tokens.bounds import most_tokens_a_byte
from dolma_pipeline.tokens.tokenizer import tokenizer_text

MOST_URLS = 100
"""Files elsewhere whose first bytes are asked for: a request each."""

MOST_FILES = 10_000
"""Files that are opened to learn whether they are plain."""


def refuse_unknown_formats(run: Run, inputs: Inputs, indexed: Collection[str]) -> list[str]:
    """Look at files that were not read before.

    Args:
        indexed: names of shards that the index has.

    Returns:
        What to warn of: files of no known format, as many as `max_failed_files` allows.

    Raises:
        UsageError: there are more; says what each seems to be and what to do.
    """
    locate = Locations(run)
    unseen = [one for one in inputs.shards if one.name not in indexed and one.name not in inputs.gone]
    new = {(one.source, one.path): locate(one) for one in unseen}
    findings = check_formats((place, open_stream) for place in new.values() if not is_url(place))
    elsewhere = [place for place in new.values() if is_url(place)]
    findings += check_formats(((place, open_stream) for place in elsewhere), most=MOST_URLS)
    if len(findings) > run.recipe.max_failed_files:
        known = {(one.source, one.path) for one in inputs.shards if one.name in indexed}
        lost = {(one.shard.split("/", 1)[0], one.path) for one in lost_files(run)} & known
        raise UsageError(told(findings, lost=len(lost)))
    return [f"{one.path} seems to be {one.what}: nothing of it may be read. {one.advice}" for one in findings]


def text_estimate(inputs: Inputs) -> int:
    """About how many bytes of text the inputs hold."""
    files = {(shard.source, shard.path): (shard.path, shard.file_bytes) for shard in inputs.shards}
    return disk.text_bytes(files.values())


def disk_warnings(run: Run, inputs: Inputs, left: Mapping[str, Artifact]) -> list[str]:
    """Whether less disk is free than what is left will take; nothing where the folder is not on a disk of ours."""
    place = run.folder.local_path()
    if place is None or not left:
        return []
    recipe = run.recipe
    id_bytes = 4 if recipe.tokenizer and recipe.tokenizer.vocab_size > 1 << 16 else 2
    steps, repeats = electing_steps(recipe), span_steps(recipe)
    mixes = [mix for name, mix in recipe.mixes().items() if name in left]
    text = text_estimate(inputs)
    estimate = disk.needed(
        text,
        index="index" in left,
        taggers=sum(one.stage == "tag" for one in left.values()),
        minhash_steps=sum(f"dedupe/{step.name}" in left and kind_of(step).signer(step) is not None for step in steps),
        repeat_steps=sum(units_artifact(step) in left for step in repeats),
        columns=sum(f"attributes/{step.name}" in left for step in (*steps, *repeats)) + len(mixes),
        documents=sum(bool(mix.documents) for mix in mixes),
        kept_id_bytes=id_bytes if mixes and recipe.tokenizer else 0,
    )
    for name in recipe.token_sections():
        if name in left:
            target = next((mix.target_tokens for mix in _mixes_of(recipe, left[name])), None)
            parts = disk.needed(text, part_id_bytes=id_bytes, target_tokens=target)
            estimate = {kind: estimate.get(kind, 0) + parts.get(kind, 0) for kind in {**estimate, **parts}}
    estimate = dict(sorted(estimate.items(), key=lambda item: -item[1]))
    sentence, is_warning = disk.disk_sentence(estimate, place, disk.free_bytes(place))
    return [sentence] if is_warning else []


def _mixes_of(recipe: Recipe, tokens: Artifact) -> list[MixConfig]:
    """The mix that token parts are made of."""
    return [recipe.mixes()[need.name] for need in tokens.needs if need.name in recipe.mixes()]


def budget_warnings(run: Run, inputs: Inputs, left: Collection[str]) -> list[str]:
    """Budgets that cannot be met, whatever the rules are; with numbers. Nothing where that is not certain.

    Args:
        left: names of artifacts that are made; the budgets of other mixes are left alone.
    """
    found = []
    for name, mix in run.recipe.mixes().items():
        unit, target = budget_of(mix, tokenizer=run.recipe.tokenizer is not None)
        if name not in left or target is None:
            continue
        most = _most_of_index(run, mix, unit) if "index" not in left else _most_of_files(run, inputs, mix, unit)
        reach = math.floor(most.size * mix.max_epochs) if most is not None else target
        if most is not None and target > reach and most.holds():
            found.append(
                f"{name}.target_{unit} is {target:,}, but at most {reach:,} {unit} can come of {most.what}"
                + (f" in {mix.max_epochs:g} epochs" if mix.max_epochs != 1 else "")
                + f": give more documents, a smaller budget, or a larger {name}.max_epochs."
            )
    return found


@dataclass(frozen=True)
class _Most:
    """The most that inputs can give, and what they are. holds: looks whether it is certain, where that costs more."""

    size: int
    what: str
    holds: Callable[[], bool] = lambda: True


def _most_of_index(run: Run, mix: MixConfig, unit: Unit) -> _Most | None:
    """By what the finished index counted: bytes and documents as they are, a token of EOS for each document."""
    index = read_manifest(run.folder, "index")
    if index is None:
        return None
    counts = index["counts"].values()
    documents, text = sum(c["kept"] for c in counts), sum(c["bytes_in"] for c in counts)
    what = f"{documents:,} documents with {text:,} bytes of text"
    if unit != "tokens":
        return _Most(documents if unit == "documents" else text, what)
    by_byte = _tokens_a_byte(run, mix)
    return None if by_byte is None else _Most(by_byte * text + documents, what)


def _most_of_files(run: Run, inputs: Inputs, mix: MixConfig, unit: Unit) -> _Most | None:
    """By the size of plain JSON lines, each longer than its text and an EOS. What is compressed may hold anything."""
    by_byte = _tokens_a_byte(run, mix) if unit == "tokens" else 1
    files = {(shard.source, shard.path): shard for shard in inputs.shards}
    makes_documents = any(type(one).document_artifacts is not Stage.document_artifacts for one in stages_in_order())
    lines = all(shard.format == "jsonl" for shard in files.values())
    if (
        by_byte is None
        or run.recipe.normalize
        or makes_documents
        or not lines
        or len(files) > MOST_FILES
        or inputs.gone
    ):
        return None
    size = sum(shard.file_bytes for shard in files.values())
    locate = Locations(run)

    def all_plain() -> bool:
        places = (locate(shard) for shard in files.values())
        return all(not is_url(place) and is_plain(place) for place in places)

    return _Most(by_byte * size, f"{size:,} bytes of files", all_plain)


def _tokens_a_byte(run: Run, mix: MixConfig) -> int | None:
    """The most tokens that a byte of text as read can give; None if nobody knows: a text put in may be longer."""
    config = run.recipe.tokenizer
    put_in = [*mix.replace, *(one for own in mix.sources.values() for one in own.replace)]
    if config is None or any(one.with_ for one in put_in):
        return None
    if not config.load:
        return 1
    load = location(expanded(config.load), run.recipe.input_settings())
    return most_tokens_a_byte(json.loads(tokenizer_text(load)))


def training_warnings(recipe: Recipe) -> Sequence[str]:
    """A warm-up that the training does not outlast."""
    if recipe.train is None:
        return []
    steps = recipe.train.max_tokens // max(1, recipe.train.batch_tokens)
    if recipe.train.warmup_steps < steps:
        return []
    train = recipe.train
    return [
        f"train.warmup_steps is {train.warmup_steps:,}, but {train.max_tokens:,} tokens are {steps:,} steps of "
        f"{train.batch_tokens:,}: the learning rate never reaches its peak. Shorten the warm-up, or train longer."
    ]
