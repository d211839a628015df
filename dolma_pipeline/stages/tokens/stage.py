"""How the token parts of a mix are put together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from dolma_pipeline.config.recipe import TokensConfig
from dolma_pipeline.errors import ConfigError, unknown_name
from dolma_pipeline.run.artifact import Artifact
from dolma_pipeline.run.columns import attribute_types
from dolma_pipeline.run.planner import Step
from dolma_pipeline.run.process import Process
from dolma_pipeline.run.stage import Stage, module_files
from dolma_pipeline.stages.encode import Encoding, ids_digest
from dolma_pipeline.stages.mixes import MIX
from dolma_pipeline.stages.reads import given_reads, united
from dolma_pipeline.stages.rules import used_sources
from dolma_pipeline.stages.tokenizer import edit_columns
from dolma_pipeline.stages.tokens.cut import Cut
from dolma_pipeline.stages.tokens.parts import Parts
from dolma_pipeline.stages.tokens.writers import writer_of


class TokensStage(Stage):
    """Parts of token ids. Training takes those of `tokens`, or of its stages' sections, evaluation those of `tokens`.

    Args:
        name: of the stage: its section of the recipe, its folder. mix: the name of the mix that they are of.
    """

    summary = "shards for our trainer and OLMo-core"
    before = ("train",)
    format = "olmo"
    """Of `writers`; no key of the recipe chooses another one yet."""

    def __init__(self, name: str = "tokens", mix: str = MIX) -> None:
        self.name, self.mix = name, mix
        self.after = (mix,)
        self.section = None if name == "tokens" else TokensConfig

    def check(self, process: Process) -> Sequence[str]:
        """The mix must be there; kept attributes must exist in every source."""
        recipe = process.run.recipe
        if self.mix not in recipe.mixes():
            raise ConfigError(
                f"{recipe.place(self.name)}: needs `{self.mix}`, which the recipe does not have; add it, or leave out "
                f"`{self.name}`"
            )
        config = recipe.token_sections()[self.name]
        for source in used_sources(process):
            types = attribute_types(process, source)
            for i, name in enumerate(config.keep_attributes):
                label, _, field = name.partition(".")
                place = recipe.place(f"{self.name}.keep_attributes.{i}")
                if label not in types:
                    raise ConfigError(f"{place}: {unknown_name('attribute', label, types)}")
                fields = [one.name for one in types[label]]
                if field not in fields:
                    raise ConfigError(f"{place}: {unknown_name(f'field of {label}', field, fields)}")
        return ()

    def artifacts(self, process: Process, known: Mapping[str, Artifact]) -> Sequence[Artifact]:
        """The parts, called by the stage's name."""
        recipe = process.run.recipe
        config = recipe.token_sections()[self.name]
        labels = sorted({name.split(".")[0] for name in config.keep_attributes})
        plain = {f"{self.name}.{key}": value for key, value in asdict(config).items()}
        reads, own = united(({**plain, "seed": recipe.seed}, {}), given_reads(process, labels))
        wanted = [self.mix, "tokenizer", *(f"attributes/{label}" for label in labels)]
        files = module_files(process, f"token format {self.format}", type(writer_of(self.format)).__module__)
        needs = tuple(known[name] for name in wanted if name in known)
        return [Artifact(self.name, self.name, reads, own, files, needs)]

    def steps(self, process: Process, known: Mapping[str, Artifact], left: Mapping[str, Artifact]) -> Sequence[Step]:
        """Kept ids, if they are not there; lists; parts."""
        if self.name not in left:
            return []
        tokens, ids = left[self.name], ids_digest(process, known, self.mix)
        encoding = Encoding(tokens, ids, tuple(edit_columns(process, self.mix)), mix=self.mix)
        cut = Cut((tokens,), self.name, self.mix)
        return [encoding, cut, Parts((tokens,), ids, cut, self.format, encoding.name)]
