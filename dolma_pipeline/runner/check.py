"""Everything that can be wrong is looked for before anything is started: names, files, rules, edits, models."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

from dolma_pipeline.config.recipe import Recipe
from dolma_pipeline.documents import SCHEMA
from dolma_pipeline.errors import ConfigError, DolmaError, UsageError, unknown_name
from dolma_pipeline.io.paths import is_url
from dolma_pipeline.io.shards import Shard, plan_shards, read_shards
from dolma_pipeline.registry import UserModule, install_modules, load_mixer, read_modules
from dolma_pipeline.stages.columns import row_schema
from dolma_pipeline.stages.context import RunContext, sources_of
from dolma_pipeline.stages.rules import source_rules
from dolma_pipeline.stages.units import prefer_columns


@contextlib.contextmanager
def at(recipe: Recipe, key: str) -> Iterator[None]:
    """Errors of the block begin with the place of `key` in the recipe's file."""
    try:
        yield
    except DolmaError as error:
        place = recipe.place(key)
        if not place or str(error).startswith(place):
            raise
        found = ConfigError(f"{place}: {error}")
        found.exit_code = error.exit_code
        raise found from error


def user_modules(recipe: Recipe) -> tuple[UserModule, ...]:
    """The recipe's modules, read and loaded; said before it is done, because loading runs their code."""
    if not recipe.tag or not recipe.tag.modules:
        return ()
    print(f"loading tagger modules: {', '.join(recipe.tag.modules)}", file=sys.stderr)
    with at(recipe, "tag.modules"):
        modules = read_modules(recipe.tag.modules)
        install_modules(modules)
    return modules


def check_output(recipe: Recipe) -> Path:
    """The run's folder, absolute."""
    with at(recipe, "output"):
        if is_url(recipe.output):
            raise UsageError(f"output {recipe.output}: a run's folder is local in this version; inputs may be URLs.")
        path = Path(recipe.output)
        if path.exists() and not path.is_dir():
            raise UsageError(f"output {recipe.output} is a file. Name a folder.")
    return path.absolute()


def plan_inputs(recipe: Recipe, folder: Path, *, redo: bool) -> list[Shard]:
    """The shards: those of the run's `shards.jsonl`, and new ones for new files."""
    listed = folder / "shards.jsonl"
    known = read_shards(listed) if listed.is_file() else []
    gone = sorted({s.source for s in known} - set(recipe.sources))
    if gone and not redo:
        raise UsageError(
            f"the run in {folder} has a source '{gone[0]}', the recipe has not. Use another output, or --redo."
        )
    if redo and (gone or _changed(known)):
        known = []
    patterns = {name: source.documents for name, source in recipe.sources.items()}
    for name in patterns:
        with at(recipe, f"sources.{name}.documents"):
            plan_shards({name: patterns[name]}, split_bytes=recipe.split_bytes)
    return plan_shards(patterns, split_bytes=recipe.split_bytes, known=known)


def _changed(known: list[Shard]) -> bool:
    try:
        plan_shards({}, split_bytes=1, known=known)
    except DolmaError:
        return True
    return False


def check_names(context: RunContext) -> None:
    """Taggers, mixers, rules, edits, orders and kept attributes: all that a recipe names must exist.

    Raises:
        ConfigError: the first that does not, with its place and what is near.
    """
    recipe = context.recipe
    if recipe.tag:
        for i, use in enumerate(recipe.tag.taggers):
            with at(recipe, f"tag.taggers.{i}"):
                context.tagger(use)
    for source in sources_of(context.shards()):
        with at(recipe, f"sources.{source}.attributes"):
            schema = row_schema(context, source)
        if recipe.mix:
            with at(recipe, "mix.where"):
                source_rules(context, source)
        if recipe.tokens:
            attributes = [f.name for f in schema if f.name not in SCHEMA.names]
            for i, name in enumerate(recipe.tokens.keep_attributes):
                label, _, field = name.partition(".")
                with at(recipe, f"tokens.keep_attributes.{i}"):
                    if label not in attributes:
                        raise ConfigError(unknown_name("attribute", label, attributes))
                    fields = [f.name for f in schema.field(label).type]
                    if field not in fields:
                        raise ConfigError(unknown_name(f"field of {label}", field, fields))
    if recipe.mix:
        with at(recipe, "mix.mixer"):
            load_mixer(recipe.mix.mixer.name, **recipe.mix.mixer.parameters)
        with at(recipe, "mix.target_tokens"):
            weighted = [name for name, own in recipe.mix.sources.items() if own.weight is not None]
            if weighted and recipe.mix.target_tokens is None:
                raise ConfigError(f"mix.sources.{weighted[0]}.weight needs a budget: set mix.target_tokens.")
    if recipe.dedupe:
        with at(recipe, "dedupe.prefer"):
            prefer_columns(context)
    if recipe.tokenizer and recipe.tokenizer.load and not Path(recipe.tokenizer.load).is_file():
        with at(recipe, "tokenizer.load"):
            raise ConfigError(f"{recipe.tokenizer.load}: no such file; give the path of a tokenizer.json.")
    if recipe.eval:
        for i, task in enumerate(recipe.eval.tasks):
            if not Path(task).is_file():
                with at(recipe, f"eval.tasks.{i}"):
                    raise ConfigError(f"{task}: no such file; a task is a JSONL file of context, choices and gold.")


def needed_assets(context: RunContext) -> list[str]:
    """Names of the models that the recipe's taggers need, sorted."""
    uses = context.recipe.tag.taggers if context.recipe.tag else ()
    return sorted({name for use in uses for name in context.tagger(use).assets})
