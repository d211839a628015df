"""A further mix, under a name of its own: its section of the recipe, its folder, its row of the table.

    # my_mixes.py, which `modules` names; then the recipe may have `small: {…}` with the keys of `mix`, and
    # `tokens_small: {…}` with those of `tokens`
    register_mix("small", tokens="tokens_small")

A named mix reads the same documents, columns and duplicates as the mix `mix`, and has rules, edits and a budget of its
own. The election of duplicates and the tokenizer follow the mix `mix` alone, and training, scores, `--plan` and
`--what-if` are of it. Documents that two mixes edit alike share their kept ids.
"""

from __future__ import annotations

import re

from dolma_pipeline.config.keys import fields_of
from dolma_pipeline.config.recipe import Recipe
from dolma_pipeline.errors import UsageError
from dolma_pipeline.registry import running_file
from dolma_pipeline.run import layout
from dolma_pipeline.run.stage import STAGES, Stage, register
from dolma_pipeline.stages.judged import JudgeStage
from dolma_pipeline.stages.mix.stage import MixStage, VerdictStage
from dolma_pipeline.stages.mixes import HIDDEN
from dolma_pipeline.stages.tokens.stage import TokensStage

_NAME = re.compile(r"[a-z][a-z0-9_]*")

_FOLDERS = ("attributes", layout.ASSETS, layout.CACHE, layout.FAILED, layout.LOG)
"""Folders of a run that no stage is called like."""


def register_mix(name: str, *, tokens: str = "") -> None:
    """Make a named mix known.

    Args:
        name: of the mix: its section of the recipe, its folder in the run. tokens: of a stage that makes token parts of
            it; "": there is none.

    Raises:
        UsageError: a name that cannot be one, or is taken.
    """
    _check_name("a mix", name)
    made: list[Stage] = [JudgeStage(name), VerdictStage(name), MixStage(name, tokens)]
    if tokens:
        _check_name("a stage of tokens", tokens)
        if tokens == name:
            raise UsageError(f"the mix '{name}' and the tokens of it have one name; give one of them another")
        made.append(TokensStage(tokens, name))
    for stage in made:
        stage.declared_in = running_file()  # its class is ours, but it goes when the file that asked for it changes
        register(stage)


def _check_name(what: str, name: str) -> None:
    if not _NAME.fullmatch(name):
        raise UsageError(f"'{name}' is no name for {what}: use small letters, digits and _, a letter first")
    if name in STAGES:
        raise UsageError(f"'{name}' is no name for {what}: there is a stage of that name; take another")
    if name in {field.yaml_name for field in fields_of(Recipe)}:
        raise UsageError(f"'{name}' is no name for {what}: a recipe has a key of that name; take another")
    if name in _FOLDERS:
        raise UsageError(f"'{name}' is no name for {what}: a run has a folder of that name; take another")
    if name.split("_")[0] in HIDDEN:
        raise UsageError(
            f"'{name}' is no name for {what}: names that begin with {', '.join(HIDDEN)} are those of what mixes leave "
            "beside their folder; take another"
        )
