"""What a run trains on and what it minimises, as its settings say: batches, objective, order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from dolma_pipeline.config.recipe import DpoConfig, TrainConfig
from dolma_pipeline.tokens.dataset import TokenDataset
from dolma_pipeline.tokens.order import Shuffles, kept_shuffle
from dolma_pipeline.tokens.sources import TokenSources, training_sources
from dolma_pipeline.train.adapted import Examples, open_examples
from dolma_pipeline.train.data import Batches, Instances, StagedBatches, TokenBatches
from dolma_pipeline.train.examples import ExampleBatches
from dolma_pipeline.train.files import Settings
from dolma_pipeline.train.language_model import LanguageModel
from dolma_pipeline.train.objective import Answers, NextToken, Objective, Preferences
from dolma_pipeline.train.order_file import order_content, order_of
from dolma_pipeline.train.reference import add_reference
from dolma_pipeline.train.stages import TOKENS, first_instances, open_parts
from dolma_pipeline.train.world import World


@dataclass(frozen=True, slots=True)
class Work:
    """batches: of this process. objective: of them. order: for `order.json`. num_instances: in all parts.

    remarks: lines for people.
    begin: called with the run's folder, the model with its first or newest weights, and whether they are the first.
    """

    batches: Batches
    objective: Objective
    order: Mapping[str, Any]
    num_instances: int
    remarks: Sequence[str] = ()
    begin: Callable[[Path, LanguageModel, bool], None] | None = None


Data = Instances | Mapping[str, Instances] | Examples


def open_data(run_dir: Path, config: TrainConfig) -> Mapping[str, Instances] | Examples:
    """What a section of the recipe trains on: the parts that it reads, or the examples that were made of its `data`.

    Raises:
        RunError: examples that were not made. DataError: files that are not there, or not whole.
    """
    if config.objective == "next_token":
        return open_parts(run_dir, config)
    return open_examples(run_dir / "data")


def sizes_of(data: Mapping[str, Instances] | Examples) -> dict[str, int]:
    """How many instances there are, by section."""
    return {"data": len(data)} if isinstance(data, Examples) else {name: len(part) for name, part in data.items()}


def work_of(settings: Settings, data: Data, *, world: World, shuffles: Shuffles = kept_shuffle) -> Work:
    """Batches, objective and order of data, as the settings say. shuffles: where epochs of tokens are kept.

    Raises:
        UsageError: less of it than a batch.
    """
    if isinstance(data, Examples):
        return example_work(settings, data, world=world)
    return token_work(settings, data if isinstance(data, Mapping) else {TOKENS: data}, world=world, shuffles=shuffles)


def example_work(settings: Settings, examples: Examples, *, world: World) -> Work:
    """SFT on dialogues, or DPO on pairs.

    Raises:
        UsageError: fewer examples than a batch.
    """
    config = settings.train
    order = order_of(settings, len(examples))
    batches = ExampleBatches(examples, order, world.rank, world.size, settings.eos_id)
    content = order_content(settings, {"data": len(examples)})
    if not isinstance(config, DpoConfig):
        return Work(batches, Answers(), content, len(examples))
    assert settings.init is not None
    begin = partial(add_reference, batches=batches, weights=settings.init.weights, world=world)
    return Work(batches, Preferences(config.beta, config.label_smoothing), content, len(examples), begin=begin)


def token_work(
    settings: Settings, parts: Mapping[str, Instances], *, world: World, shuffles: Shuffles = kept_shuffle
) -> Work:
    """The next token of each section's parts, stage by stage.

    Args:
        parts: section -> its instances, in the order in which they are first read.

    Raises:
        UsageError: fewer instances than a batch.
    """
    sizes = {section: len(instances) for section, instances in parts.items()}
    orders = {section: order_of(settings, size) for section, size in sizes.items()}
    vocab_size = settings.model.vocab_size
    remarks = []
    names: tuple[str, ...] = ()
    sources: dict[str, TokenSources] = {}
    if settings.train.loss_by_source:
        files = {section: one for section, one in parts.items() if isinstance(one, TokenDataset)}
        counted = {section: training_sources(one.folder.parent) for section, one in files.items()}
        names = tuple(sorted({name for found in counted.values() for name in found}))
        if files and not all(counted.values()):
            names = ()
            remarks.append("no loss by source: the manifest of the parts counts no sources")
        names = names if len(names) > 1 else ()  # of a single one it is the loss
        sources = {section: TokenSources(one, names) for section, one in files.items()} if names else {}
    batches = {
        section: TokenBatches(
            instances,
            orders[section],
            world.rank,
            world.size,
            settings.eos_id,
            vocab_size,
            shuffles,
            sources.get(section),
        )
        for section, instances in parts.items()
    }
    for section, one in orders.items():
        seen = sum(stage.num_steps for stage in settings.stages if stage.tokens == section) / one.steps_per_epoch
        if seen > 1:
            name = "the data" if section == TOKENS else section
            remarks.append(f"{name} is seen {seen:.1f} times: {one.num_instances:,} sequences make one epoch")
    content, total = order_content(settings, sizes), sum(sizes.values())
    if not settings.train.stages:
        (only,) = batches.values()
        return Work(only, NextToken(names), content, total, remarks)
    staged = StagedBatches(settings.stages, batches, first_instances(sizes))
    return Work(staged, NextToken(names), content, total, remarks)
