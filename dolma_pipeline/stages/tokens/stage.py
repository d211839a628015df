"""How tokens is put together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from dolma_pipeline.errors import ConfigError, unknown_name
from dolma_pipeline.run.artifact import Artifact
from dolma_pipeline.run.columns import attribute_types
from dolma_pipeline.run.planner import Step
from dolma_pipeline.run.process import Process
from dolma_pipeline.run.stage import Stage, module_files
from dolma_pipeline.stages.encode import Encoding, ids_digest
from dolma_pipeline.stages.reads import given_reads, united
from dolma_pipeline.stages.rules import used_sources
from dolma_pipeline.stages.tokenizer import edit_columns
from dolma_pipeline.stages.tokens.cut import Cut
from dolma_pipeline.stages.tokens.parts import Parts
from dolma_pipeline.stages.tokens.writers import writer_of


class TokensStage(Stage):
    """Parts of token ids."""

    name = "tokens"
    summary = "shards for our trainer and OLMo-core"
    after = ("mix",)
    format = "olmo"
    """Of `writers`; no key of the recipe chooses another one yet."""

    def check(self, process: Process) -> Sequence[str]:
        """Kept attributes must exist in every source."""
        recipe = process.run.recipe
        assert recipe.tokens is not None
        for source in used_sources(process):
            types = attribute_types(process, source)
            for i, name in enumerate(recipe.tokens.keep_attributes):
                label, _, field = name.partition(".")
                place = recipe.place(f"tokens.keep_attributes.{i}")
                if label not in types:
                    raise ConfigError(f"{place}: {unknown_name('attribute', label, types)}")
                fields = [one.name for one in types[label]]
                if field not in fields:
                    raise ConfigError(f"{place}: {unknown_name(f'field of {label}', field, fields)}")
        return ()

    def artifacts(self, process: Process, known: Mapping[str, Artifact]) -> Sequence[Artifact]:
        """`tokens`."""
        recipe = process.run.recipe
        assert recipe.tokens is not None
        labels = sorted({name.split(".")[0] for name in recipe.tokens.keep_attributes})
        plain = {f"tokens.{key}": value for key, value in asdict(recipe.tokens).items()}
        reads, own = united(({**plain, "seed": recipe.seed}, {}), given_reads(process, labels))
        wanted = ["mix", "tokenizer", *(f"attributes/{label}" for label in labels)]
        files = module_files(process, f"token format {self.format}", type(writer_of(self.format)).__module__)
        needs = tuple(known[name] for name in wanted if name in known)
        return [Artifact("tokens", "tokens", reads, own, files, needs)]

    def steps(self, process: Process, known: Mapping[str, Artifact], left: Mapping[str, Artifact]) -> Sequence[Step]:
        """Kept ids, if they are not there; lists; parts."""
        if "tokens" not in left:
            return []
        tokens, ids = left["tokens"], ids_digest(process, known)
        cut = Cut((tokens,))
        return [Encoding(tokens, ids, tuple(edit_columns(process))), cut, Parts((tokens,), ids, cut, self.format)]
