"""`--what-if` of a folder that has kept what it had decided of earlier documents: what a run then makes, or refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dolma_pipeline.config.recipe import Recipe
from dolma_pipeline.engines import Here
from dolma_pipeline.errors import UsageError
from dolma_pipeline.look.changes import changed
from dolma_pipeline.look.explain import explain
from dolma_pipeline.look.what_if import what_if
from dolma_pipeline.runner import run
from dolma_pipeline.storage.folder import run_folder
from tests.dolma_pipeline.stages.dedupe.test_keep_old import BATCHES, columns, copy_of, launch, new_output, recipe
from tests.dolma_pipeline.stages.small import small_recipe, write_shards
from tests.pipeline.tiny import engine

SHARDS = {**BATCHES[0], **BATCHES[1]}


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    """The recipe of a folder to which files were added."""
    folder, output = tmp_path_factory.mktemp("grown"), new_output()
    for batch in BATCHES[:2]:
        write_shards(folder, batch)
        launch(folder, output, recipe())
    return replace(small_recipe(folder, ["web", "code"], **recipe()), output=output)


@pytest.mark.parametrize(
    "changes",
    [
        ["unique:"],
        ["unique: near.keep"],
        ["unique: near.size = 1 OR near.rank = 0"],
        ["alike: near.jaccard > 0.9 AND near.cluster <> near.group"],
        ["mix.target_documents=12", "seed=11"],
        ["mix.held_out.share=0.4"],
    ],
)
def test_what_it_says_is_what_a_run_then_makes(grown: Recipe, changes: list[str]) -> None:
    said = what_if(grown, changes)
    assert said.exact
    with engine(Here()):
        after = replace(changed(grown, changes), output=copy_of(grown.output))
        counts = run(after, quiet=True, redo=True).manifests["mix"]
    for source, one in said.sources.items():
        assert one.after.documents == counts.counts[source].kept
        assert said.after is not None
        plan = counts.record["plan"][source]
        assert (said.after.plan.sources[source].documents, said.after.plan.sources[source].bytes) == (
            plan["documents"],
            plan["bytes"],
        )


def test_other_rules_before_duplicates_are_refused(grown: Recipe) -> None:
    for change in ("stars: (metadata->>'$.stars')::INT >= 2", "stars:", "long: chars > 0"):
        with pytest.raises(UsageError, match=r"a run judges all documents anew, .* \(dedupe\.keep: old\)"):
            what_if(grown, [change])


def test_explain_names_the_old_one_that_stays(grown: Recipe) -> None:
    found = columns(run_folder(grown.output), SHARDS)
    origin, keeper = next(
        (origin, one["cluster"])
        for origin, one in found.items()
        if not one["keep"] and origin.split("#")[0] in BATCHES[1] and one["cluster"].split("#")[0] in BATCHES[0]
    )
    told = explain(grown, origin)
    assert told.copy is not None
    assert (told.copy.origin, told.copy.jaccard) == (keeper, found[origin]["jaccard"])


@pytest.mark.parametrize("keep", ["elect", "old"])
def test_a_look_sees_the_marks_of_now(tmp_path: Path, keep: str) -> None:
    """Files of one source may change what is marked in another one, whose files are the same."""
    line = "a paragraph of the same words everywhere, long enough"
    settings = {
        "dedupe": {"steps": [{"name": "lines", "kind": "paragraphs"}], "keep": keep},
        "mix": {"where": {"own": "lines.coverage < 2"}},
    }
    output = new_output()
    write_shards(tmp_path, {"code/b": ["something else, of which nothing is repeated"], "web/a": [line]})
    made = replace(small_recipe(tmp_path, ["code", "web"], **settings), output=output)
    with engine(Here()):
        run(made, quiet=True)
    assert what_if(made, ["own: lines.coverage < 0.5"]).sources["web"].after.documents == 1
    write_shards(tmp_path, {"code/a": [line]})
    with engine(Here()):
        run(made, quiet=True)
    found = what_if(made, ["own: lines.coverage < 0.5"])
    assert found.sources["web"].after.documents == (0 if keep == "elect" else 1)
    assert found.sources["code"].after.documents == (2 if keep == "elect" else 1)
