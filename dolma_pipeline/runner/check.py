"""Everything that can be wrong is looked for before anything is started: names, files, rules, edits, models."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from dolma_pipeline.config.recipe import Recipe
from dolma_pipeline.errors import ConfigError, DolmaError, UnknownNameError, UsageError, unknown_name
from dolma_pipeline.io.paths import find, identity, is_url
from dolma_pipeline.io.shards import Shard, plan_shards, read_shards
from dolma_pipeline.registry import UserModule, install_modules, load_mixer, read_modules
from dolma_pipeline.runner.beam_options import check_flags, check_runner, runner_in
from dolma_pipeline.sql.columns import RESERVED
from dolma_pipeline.stages.columns import given_columns, made_columns, row_schema
from dolma_pipeline.stages.context import RunContext, sources_of
from dolma_pipeline.stages.rules import source_rules
from dolma_pipeline.stages.units import prefer_columns
from dolma_pipeline.tokens.tokenizer import load_tokenizer


@contextlib.contextmanager
def at(recipe: Recipe, key: str) -> Iterator[None]:
    """Errors of the block begin with the place of `key` in the recipe's file, and name the key once."""
    try:
        yield
    except DolmaError as error:
        place = recipe.place(key)
        if not place or str(error).startswith(place):
            raise
        raise ConfigError(f"{place}: {str(error).removeprefix(f'{key}: ')}") from error


def user_modules(recipe: Recipe) -> tuple[UserModule, ...]:
    """The recipe's modules, read and loaded; said before it is done, because loading runs their code."""
    if not recipe.modules:
        return ()
    print(f"loading modules: {', '.join(recipe.modules)}", file=sys.stderr)
    with at(recipe, "modules"):
        modules = read_modules(recipe.modules)
        install_modules(modules)
    return modules


def check_output(recipe: Recipe) -> Path:
    """The run's folder, absolute."""
    with at(recipe, "output"):
        if is_url(recipe.output):
            raise UsageError(f"{recipe.output}: a run's folder is local in this version; inputs may be URLs.")
        path = Path(recipe.output)
        if path.exists() and not path.is_dir():
            raise UsageError(f"{recipe.output} is a file. Name a folder.")
        # The nearest folder that is there: the others are made in it. (`exists` is false below a file.)
        there = next(one for one in (path.absolute(), *path.absolute().parents) if os.path.lexists(one))
        if not there.is_dir():
            raise UsageError(f"output {recipe.output} cannot be made: {there} is not a folder.")
        if not os.access(there, os.W_OK | os.X_OK):
            raise UsageError(f"output {recipe.output} cannot be written: no permission in {there}.")
    return path.absolute()


def check_beam(recipe: Recipe, beam_options: Sequence[str] = ()) -> None:
    """Runner and options must be known. Those of another runner are left to it: its job server has some of its own.

    Args:
        recipe: with `beam`. beam_options: as on a Beam command line; a runner in them is used in place of the recipe's.

    Raises:
        ConfigError: a runner or an option of the recipe. UsageError: one of `beam_options`.
    """
    named = runner_in(beam_options)
    runner = named or recipe.beam.runner
    if runner != "local":
        with at(recipe, "beam.runner") if named is None else contextlib.nullcontext():
            check_runner(runner)
        return
    for name, value in recipe.beam.options.items():
        with at(recipe, f"beam.{name}"):
            check_flags([f"--{name}={value}"])
    if beam_options:
        check_flags(beam_options)


def plan_inputs(recipe: Recipe, folder: Path, *, redo: bool) -> list[Shard]:
    """The shards: those of the run's `shards.jsonl`, and new ones for new files.

    Raises:
        UsageError: a pattern that matches nothing, or files of the run's own folder; or the list has a file that the
            recipe does not read any more, or reads as another source, or that has another size (with `redo` a new list
            is made).
    """
    found: dict[str, str] = {}
    for name, source in recipe.sources.items():
        with at(recipe, f"sources.{name}.documents"):
            mine = {identity(path): name for path, _ in find(source.documents)}
            if own := next((path for path in mine if path.startswith(f"{folder}{os.sep}")), None):
                raise UsageError(
                    f"{own} lies in the run's own folder, so it cannot be an input of this run. "
                    f"Narrow {', '.join(source.documents)}, or put the output elsewhere."
                )
            found |= mine
    patterns = {name: source.documents for name, source in recipe.sources.items()}
    listed = folder / "shards.jsonl"
    known = read_shards(listed) if listed.is_file() else []
    try:
        for shard in known:
            if found.get(identity(shard.path)) != shard.source:
                raise UsageError(
                    f"the run in {folder} reads {shard.path} as source '{shard.source}', and this recipe does not. "
                    "Put it back, use another output, or give --redo."
                )
        return plan_shards(patterns, split_bytes=recipe.split_bytes, known=known)
    except DolmaError:
        if not redo or not known:
            raise
        return plan_shards(patterns, split_bytes=recipe.split_bytes)


def check_names(context: RunContext, wanted: Sequence[str]) -> None:
    """Taggers, mixers, rules, edits, orders and kept attributes: all that a recipe names must exist.

    Raises:
        ConfigError: the first that does not, with its place and what is near.
    """
    recipe = context.recipe
    check_beam(recipe)
    if recipe.tag:
        for i, use in enumerate(recipe.tag.taggers):
            with at(recipe, f"tag.taggers.{i}"):
                if context.tagger(use).spec.object.__module__ == "__main__":
                    raise ConfigError(
                        f"tagger '{use.tagger}' is declared in the script that is run, where workers do not find it. "
                        "Put it into a file of its own and name that in `modules`."
                    )
    for source in sources_of(context.shards()):
        with at(recipe, f"sources.{source}.attributes"):
            schema = row_schema(context, source)
            if twice := sorted({*made_columns(context)} & {*given_columns(context, source)}):
                raise ConfigError(
                    f"the attributes given for source '{source}' hold {twice[0]}, which this run makes itself. "
                    f"Give its tagger or dedupe step another name (`name:`), or leave one of the two out."
                )
        if recipe.mix:
            source_rules(context, source)
        if recipe.tokens:
            attributes = [f.name for f in schema if f.name not in RESERVED]
            for i, name in enumerate(recipe.tokens.keep_attributes):
                label, _, field = name.partition(".")
                with at(recipe, f"tokens.keep_attributes.{i}"):
                    if label not in attributes:
                        raise ConfigError(unknown_name("attribute", label, attributes))
                    fields = [f.name for f in schema.field(label).type]
                    if field not in fields:
                        raise ConfigError(unknown_name(f"field of {label}", field, fields))
    if recipe.mix:
        _check_counts_tokens(recipe)
        with at(recipe, "mix.mixer"):
            load_mixer(recipe.mix.mixer.name, **recipe.mix.mixer.parameters)
    if recipe.dedupe:
        prefer_columns(context)
    if recipe.tokenizer and recipe.tokenizer.load:
        with at(recipe, "tokenizer.load"):
            if not Path(recipe.tokenizer.load).is_file():
                raise ConfigError(f"{recipe.tokenizer.load}: no such file; give the path of a tokenizer.json.")
            info = load_tokenizer(recipe.tokenizer.load, special_tokens=recipe.tokenizer.special_tokens)
        if recipe.tokens:
            with at(recipe, "tokens.eos"):
                info.special_id(recipe.tokens.eos)
    _check_model(recipe, wanted)


def _check_counts_tokens(recipe: Recipe) -> None:
    mix = recipe.mix
    assert mix is not None
    in_others = {
        "mix.target_bytes": mix.target_bytes,
        "mix.target_documents": mix.target_documents,
        "mix.held_out.max_bytes": mix.held_out and mix.held_out.max_bytes,
    }
    for key, value in in_others.items():
        if value is not None and (recipe.tokenizer or key in recipe.origin):
            raise ConfigError(f"{recipe.place(key)}: these stages count tokens only; give the bound in tokens.")
    if recipe.tokenizer is None:
        raise ConfigError(f"{recipe.place('mix')}: these stages count in tokens; add `tokenizer`.")


def _check_model(recipe: Recipe, wanted: Sequence[str]) -> None:
    """What `train` and `eval` would refuse only after everything else is made; torch must be there if they run."""
    from dolma_pipeline.evals.run import task_files
    from dolma_pipeline.evals.tasks import read_items
    from dolma_pipeline.train import model_config, require_torch, resolve_processes

    if recipe.train and recipe.tokenizer:
        with at(recipe, "train.model"):
            length = recipe.train.sequence_length
            try:
                model_config(recipe.train.model, vocab_size=recipe.tokenizer.vocab_size, sequence_length=length)
            except UnknownNameError as error:  # without its hint, which names the key again
                raise ConfigError(unknown_name(error.kind, error.name, error.known)) from error
        with at(recipe, "train.processes"):
            if "train" in wanted or "eval" in wanted:
                require_torch()
            if recipe.train.processes != "auto" and "train" in wanted:
                resolve_processes(recipe.train)
    if recipe.eval:
        with at(recipe, "eval.tasks"):
            for path in task_files(recipe.eval).values():
                read_items(path)


def needed_assets(context: RunContext) -> list[str]:
    """Names of the models that the recipe's taggers need, sorted."""
    uses = context.recipe.tag.taggers if context.recipe.tag else ()
    return sorted({name for use in uses for name in context.tagger(use).assets})
