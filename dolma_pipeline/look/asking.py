"""What the rules of a changed recipe say of every document: only rules that are new are asked, of the table's columns.

A rule that stands in the folder's recipe with the same SQL has its verdicts there, whatever it is called; one that
reads the text must be such a rule. Early rules come first, then the election, then the rules that name dedupe steps,
which are asked again, because the election may be another one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dolma_pipeline.config.recipe import MixSourceConfig, Recipe
from dolma_pipeline.errors import UsageError
from dolma_pipeline.look.columns import Columns
from dolma_pipeline.look.folder import Finished
from dolma_pipeline.look.marks import marks_of
from dolma_pipeline.look.measured import same_edits
from dolma_pipeline.run.columns import read_block
from dolma_pipeline.run.process import Process
from dolma_pipeline.sql import Rules, num_words, unpack
from dolma_pipeline.stages.dedupe.election import Elected
from dolma_pipeline.stages.rules import MIN_CHARS, SourceRules, mix_config, rule_names, where_of

Verdict = tuple[NDArray[np.bool_], NDArray[np.bool_]]
"""Of one rule and every document of a source: failed (not TRUE) and NULL."""


@dataclass(frozen=True)
class SourceVerdicts:
    """What the rules of one source say of its documents.

    rules: name -> verdict, in the order in which they are asked. rows: documents.
    """

    rules: Mapping[str, Verdict]
    rows: int

    @property
    def passes(self) -> NDArray[np.bool_]:
        """The documents that pass all rules."""
        return self.passes_some(self.rules)

    def passes_some(self, names: Sequence[str] | Mapping[str, object]) -> NDArray[np.bool_]:
        """The documents that pass these rules."""
        found = np.ones(self.rows, np.bool_)
        for name in names:
            found &= ~self.rules[name][0]
        return found


def made_verdicts(finished: Finished, columns: Columns) -> tuple[SourceVerdicts, NDArray[np.int64] | None]:
    """The verdicts in the folder for one source, and code points of edited texts where they were counted."""
    source = columns.groups.source
    mix = mix_config(finished.run.recipe)
    names = rule_names(mix, source.name)
    kinds = {kind: [f"{kind}_{word}" for word in range(num_words(len(names)))] for kind in ("fail", "null")}
    counted = ["edited_chars"] if MIN_CHARS in names else []
    table = columns.table.columns(columns.groups.verdicts(), [*kinds["fail"], *kinds["null"], *counted])
    found = [
        unpack(np.stack([table.column(word).to_numpy() for word in words], axis=1), len(names))
        for words in kinds.values()
    ]
    edited = table.column("edited_chars").to_numpy() if counted else None
    rules = {name: (failed, null) for name, failed, null in zip(names, *found, strict=True)}
    return SourceVerdicts(rules, source.rows), edited


@dataclass(frozen=True)
class Asking:
    """One source under the rules of a changed recipe.

    Args:
        finished: the folder. process: of the changed recipe. columns: of the source. before: its verdicts there.
        edited: code points of its edited texts, where they are known.
    """

    finished: Finished
    process: Process
    columns: Columns
    before: SourceVerdicts
    edited: NDArray[np.int64] | None

    @property
    def source(self) -> str:
        """The source's name."""
        return self.columns.groups.source.name

    def rules(self) -> SourceRules:
        """The source's rules, bound to the table."""
        key = ("rules of the table", self.source)
        return self.process.kept(key, lambda: SourceRules(self.process, self.source, stored=self.columns.stored))

    def early(self) -> dict[str, Verdict]:
        """The rules that name no dedupe step.

        Raises:
            UsageError: a new one reads the text. DataError: a value that a rule cannot take.
        """
        rules = self.rules()
        where = where_of(mix_config(self.process.run.recipe), self.source)
        known = self._known()
        found = {name: self.before.rules[known[where[name]]] for name in rules.early if where.get(name) in known}
        left = [name for name in rules.early if name not in found and name != MIN_CHARS]
        self._refuse_text(rules, left)
        if left:
            found |= self._asked(rules.asked(left))
        if MIN_CHARS in rules.early:
            found[MIN_CHARS] = self._short(rules)
        return found

    def late(self, elected: Mapping[str, Elected], *, same: bool) -> dict[str, Verdict]:
        """The rules that name a dedupe step, after an election.

        Args:
            same: it is the election of the folder.

        Raises:
            UsageError: one reads the text, and is new, or the election is.
        """
        rules = self.rules()
        where = where_of(mix_config(self.process.run.recipe), self.source)
        known = self._known()
        names = [name for name in rules.late if name != MIN_CHARS]
        kept = [name for name in names if where[name] in known and (same or not rules.text_rules([name]))]
        found = {name: self.before.rules[known[where[name]]] for name in kept if same}
        if MIN_CHARS in rules.late:
            found[MIN_CHARS] = self._short(rules)
        left = [name for name in rules.late if name not in found]
        self._refuse_text(rules, left, election=True)
        return found | (self._asked(rules.asked(left), elected) if left else {})

    def _known(self) -> dict[str, str]:
        """SQL -> rule of the folder's recipe."""
        where = where_of(mix_config(self.finished.run.recipe), self.source)
        return {sql: name for name, sql in where.items()}

    def _refuse_text(self, rules: SourceRules, names: Sequence[str], *, election: bool = False) -> None:
        text = rules.text_rules(names)
        if not text:
            return
        known = self._known()
        sql = where_of(mix_config(self.process.run.recipe), self.source)[text[0]]
        why = (
            "and with another election of duplicates its columns are others"
            if election and sql in known
            else "which only a run reads. `length(text)` would be `chars`; a tagger can make a column of the rest"
        )
        raise UsageError(
            f"rule '{text[0]}' reads the text of source '{self.source}', {why}. "
            "Change the recipe and run: dolma-pipeline mix RECIPE --redo."
        )

    def _asked(self, rules: Rules, elected: Mapping[str, Elected] | None = None) -> dict[str, Verdict]:
        references = rules.references()
        given = {}
        if elected is not None:
            wanted: dict[str, set[str]] = {}
            for column, field in references:
                if column in elected:
                    wanted.setdefault(column, set()).update([field] if field else ["size", "rank", "keep"])
            fields = {step: frozenset(names) for step, names in wanted.items()}
            given = marks_of(self.finished, elected, self.columns.groups.source, fields)
        rows = self.before.rows
        failed, null = (np.zeros((len(rules.names), rows), np.bool_) for _ in range(2))
        at = 0
        for chunk in self.columns.chunks(references, rules.needs_lists(), given):
            verdict = rules.evaluate(chunk)
            here = slice(at, at := at + chunk.num_rows)
            failed[:, here], null[:, here] = ~verdict.passed, verdict.null
        return {name: (failed[i], null[i]) for i, name in enumerate(rules.names)}

    def _short(self, rules: SourceRules) -> Verdict:
        """Which edited texts are shorter than `min_chars`."""
        before, after = self.finished.run.recipe, self.process.run.recipe
        alike = same_edits(before, after, self.source)
        if alike and MIN_CHARS in self.before.rules and _min_chars(before, self.source) == rules.min_chars:
            return self.before.rules[MIN_CHARS]
        edited = self.edited if alike and self.edited is not None else self._edited(rules)
        return edited < rules.min_chars, np.zeros(len(edited), np.bool_)

    def _edited(self, rules: SourceRules) -> NDArray[np.int64]:
        parts = [np.zeros(0, np.int64)]
        for block in self.columns.groups.source.blocks:
            table = read_block(self.finished.process, block, index={"chars"}, wanted=rules.edit_columns)
            parts.append(rules.edited_chars(table))
        return np.concatenate(parts)


def _min_chars(recipe: Recipe, source: str) -> int:
    return mix_config(recipe).sources.get(source, MixSourceConfig()).min_chars
