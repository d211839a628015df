"""What is wrong with a recipe is found before anything is started, in one clear error, and leaves no folder."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dolma_pipeline.cli import main
from dolma_pipeline.config.loader import recipe_from_text
from dolma_pipeline.errors import ConfigError, DataError, UsageError
from dolma_pipeline.runner import run
from tests.pipeline.tiny import RECIPE, files, recipe, tree

ROOT = Path(__file__).parents[2]
WHERE = RECIPE["mix"]["where"]

WRONG: list[tuple[str, dict[str, Any], type[UsageError], str]] = [
    (
        "tagger",
        {"tag__taggers": ["length_v1", "mark_v1"]},
        ConfigError,
        "tag.taggers.1: no tagger named 'mark_v1'. Did you mean 'marks_v1'? "
        "Your own: `modules: [./my_file.py]` at the top of the recipe.",
    ),
    (
        "a tagger's parameter",
        {"tag__taggers": [{"tagger": "length_v1", "colour": 3}, "marks_v1"]},
        ConfigError,
        "tag.taggers.0: no parameter of tagger 'length_v1' named 'colour'. There are none.",
    ),
    (
        "module",
        {"modules": ["./mraks.py"]},
        ConfigError,
        "modules: no file ./mraks.py (modules), looked for at ",
    ),
    (
        "attribute in a rule",
        {"mix__where": {**WHERE, "words": "lenght_v1.words > 3"}},
        ConfigError,
        "mix.where.words: no attribute or column named 'lenght_v1'. Did you mean 'length_v1'?",
    ),
    (
        "field in a rule",
        {"mix__where": {**WHERE, "words": "length_v1.word > 3"}},
        ConfigError,
        "mix.where.words: no field of 'length_v1' named 'word'. Did you mean 'words'?",
    ),
    (
        "rule that is no condition",
        {"mix__where": {**WHERE, "words": "length_v1.words"}},
        ConfigError,
        "mix.where.words: `length_v1.words` is BIGINT, not BOOLEAN",
    ),
    (
        "source in the mix",
        {"mix__sources": {"wbe": {"min_chars": 1}}},
        ConfigError,
        "mix.sources.wbe: no source named 'wbe'. Did you mean 'web'?",
    ),
    (
        "rule to skip",
        {"mix__sources": {"web": {"skip_rules": ["word"]}}},
        ConfigError,
        "mix.sources.web.skip_rules.0: no rule named 'word'. Did you mean 'words'?",
    ),
    (
        "span field of replace",
        {"mix__replace": [{"spans": "marks_v1.name", "with": "x"}]},
        ConfigError,
        "mix.replace.0.spans: no span field of marks_v1 named 'name'. Did you mean 'names'?",
    ),
    (
        "field that is no span",
        {"mix__replace": [{"spans": "marks_v1.digits", "with": "x"}]},
        ConfigError,
        "mix.replace.0.spans: no span field of marks_v1 named 'digits'. There are: asides, names.",
    ),
    (
        "span field of remove",
        {"mix__sources": {"web": {"remove": ["mraks_v1.asides"]}}},
        ConfigError,
        "mix.sources.web.remove.0: no attribute named 'mraks_v1'. Did you mean 'marks_v1'?",
    ),
    (
        "mixer",
        {"mix__mixer": "proportionate"},
        ConfigError,
        "mix.mixer: no mixer named 'proportionate'. Did you mean 'proportional'?",
    ),
    (
        "weights without a budget",
        {"mix__sources": {"web": {"weight": 2.0}}},
        ConfigError,
        "mix.sources.web.weight: needs a budget: set one of mix.target_tokens, mix.target_bytes, mix.target_documents",
    ),
    (
        "empty glob",
        {"sources": {"web": {"documents": "in/wbe/*.gz"}}, "mix__sources": {}},
        ConfigError,
        "sources.web.documents: in/wbe/*.gz: no such file. In in/ there is: web.",
    ),
    (
        "kept attribute",
        {"tokens__keep_attributes": ["lenght_v1.words"]},
        ConfigError,
        "tokens.keep_attributes.0: no attribute named 'lenght_v1'. Did you mean 'length_v1'?",
    ),
    (
        "kept field",
        {"tokens__keep_attributes": ["length_v1.chras"]},
        ConfigError,
        "tokens.keep_attributes.0: no field of length_v1 named 'chras'. Did you mean 'chars'?",
    ),
    (
        "preferred attribute",
        {"dedupe__prefer": "length_v1.wordz DESC"},
        ConfigError,
        "dedupe.prefer: no field of 'length_v1' named 'wordz'. Did you mean 'words'?",
    ),
    (
        "tokenizer file",
        {"tokenizer": {"load": "no/tokenizer.json"}},
        ConfigError,
        "tokenizer.load: no/tokenizer.json: no such file; give the path of a tokenizer.json.",
    ),
    (
        "task file",
        {"train": {}, "eval": {"tasks": ["no/arc.jsonl"]}},
        ConfigError,
        "eval.tasks: no/arc.jsonl: no such file.",
    ),
    (
        "attributes folder",
        {"sources": {"web": {"documents": "in/web/*", "attributes": "no/scores"}}},
        ConfigError,
        "sources.web.attributes: no/scores: no such folder",
    ),
    (
        "attributes of other documents",
        {"sources": {"web": {"documents": "in/web/*", "attributes": "in/code"}}},
        ConfigError,
        "in/code has no file for shard web/a (looked for a.parquet and a.jsonl.gz). Attribute files are called like",
    ),
    (
        "output that is a URL",
        {"output": "hdfs://host/run"},
        ConfigError,
        "output: hdfs://host/run: a run's folder cannot be at hdfs://. There are: az, file, gs, memory, s3.",
    ),
    (
        "output that is a file",
        {"output": "marks.py"},
        ConfigError,
        "output: marks.py is a file. Name a folder.",
    ),
]


@pytest.mark.parametrize(("changes", "kind", "said"), [one[1:] for one in WRONG], ids=[one[0] for one in WRONG])
def test_wrong_names_and_files(
    here: Path, tmp_path: Path, changes: dict[str, Any], kind: type[UsageError], said: str
) -> None:
    output = changes.pop("output", tmp_path / "run")
    with pytest.raises(kind) as caught:
        run(recipe(output, **changes), quiet=True)
    assert said in str(caught.value)
    assert caught.value.exit_code == 2
    assert str(caught.value).count("\n") <= 6
    assert not (tmp_path / "run").exists()


def test_an_error_names_file_and_line(here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "my.yaml"
    text = json.dumps({"output": str(tmp_path / "run"), **tree(tag__taggers=["length_v1", "mark_v1"])}, indent=1)
    path.write_text(text)
    line = text.split("\n").index('   "mark_v1"') + 1
    assert main(["-q", "run", str(path)]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith(f"error: {path}:{line}: tag.taggers.1: no tagger named 'mark_v1'. Did you mean 'marks_v1'?")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changes", "at", "said"),
    [
        (
            {"mix__where": {**WHERE, "long": "length_v1.wrds > 3"}},
            '"long"',
            "mix.where.long: no field of 'length_v1' named",
        ),
        (
            {"mix__sources": {"web": {"where": {"own": "length_v1.wrds > 3"}}}},
            '"own"',
            "mix.sources.web.where.own: no field of",
        ),
        ({"mix__sources": {"web": {"weight": 2.0}}}, '"weight"', "mix.sources.web.weight: needs a budget: set one of"),
        ({"mix__where": "length_v1.wrds > 3"}, '"where"', "mix.where: no field of 'length_v1' named 'wrds'"),
        ({"mix__where": "length_v1.words >"}, '"where"', "mix.where: `length_v1.words >` is not SQL"),
        ({"mix__replace": [{"spans": "marks_v1.nmes", "with": "x"}]}, '"spans"', "mix.replace.0.spans: no span field"),
        ({"dedupe__prefer": "length_v1.wrds DESC"}, '"prefer"', "dedupe.prefer: no field of"),
        ({"train": {"model": "tinny"}}, '"model"', "train.model: no model named 'tinny'. Did you mean 'tiny'?"),
        (
            {"train": {"shape": {"widht": 64}}},
            '"shape"',
            "train.shape: no field of 'tiny' in train.shape named 'widht'",
        ),
        (
            {"train": {"shape": {"num_layers": 0}}},
            '"shape"',
            "train.shape: num_layers: found the number 0, expected at",
        ),
        (
            {"sources": {"web": {"documents": "in/web/*", "attributes": "no/scores"}}, "mix__sources": {}},
            '"attributes"',
            "sources.web.attributes: no/scores: no such folder",
        ),
    ],
)
def test_each_error_has_the_line_of_its_key_once(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, Any], at: str, said: str
) -> None:
    path = tmp_path / "my.yaml"
    text = json.dumps({"output": str(tmp_path / "run"), **tree(**changes)}, indent=1)
    path.write_text(text)
    line = next(i for i, one in enumerate(text.split("\n"), 1) if one.strip().startswith(f"{at}:"))
    assert main(["-q", "run", str(path)]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith(f"error: {path}:{line}: {said}")
    assert "It is set by" not in error


@pytest.mark.parametrize(
    ("stages", "kind", "said"),
    [
        (("mixx",), UsageError, "no stage named 'mixx'. Did you mean 'mix'?"),
        (("train",), UsageError, "the recipe has no `train`; its stages are tag, dedupe, tokenizer, mix, tokens"),
        (
            ("tokens",),
            UsageError,
            "tokens needs attributes/length_v1, which is not done (new). First: dolma-pipeline tag",
        ),
        (
            ("dedupe",),
            UsageError,
            "dedupe needs attributes/length_v1, which is not done (new). First: dolma-pipeline tag",
        ),
    ],
)
def test_wrong_stages(here: Path, tmp_path: Path, stages: tuple[str, ...], kind: type[UsageError], said: str) -> None:
    with pytest.raises(kind) as caught:
        run(recipe(tmp_path / "run"), stages=stages, quiet=True)
    assert said in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_overrides_need_a_path(here: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="overrides go with a recipe's path; a Recipe object is changed with"):
        run(recipe(tmp_path / "run"), "seed=3")


def test_nothing_passes_where_the_tokenizer_is_given(here: Path, finished: Path, tmp_path: Path) -> None:
    """Says how many fail which rule."""
    changes: dict[str, Any] = {
        "mix__where": {"none": "length_v1.words > 100000", "some": "length_v1.words > 0"},
        "dedupe": None,
        "tokenizer": {"load": str(finished / "tokenizer" / "tokenizer.json")},
    }
    with pytest.raises(DataError, match="no document passes") as caught:
        run(recipe(tmp_path / "run", **changes), quiet=True)
    said = r"mix: no document passes the rules\. Of (\d+) documents: (\d+) fail none, (\d+) fail some.*\. Loosen mix\."
    found = re.search(said, str(caught.value))
    assert found, str(caught.value)
    assert int(found[1]) >= int(found[2]) > int(found[3]) > 0


def test_a_runs_own_files_are_no_input(tmp_path: Path) -> None:
    """Not even where the pattern matches them; what is finished stays."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jsonl").write_text('{"id": "1", "text": "one two three"}\n')
    text = json.dumps(
        {
            "output": str(tmp_path / "in/run"),
            "sources": {"web": {"documents": str(tmp_path / "in/**/*.jsonl")}},
            "tag": {"taggers": ["length_v1"]},
        }
    )
    run(recipe_from_text(text), quiet=True)
    before = files(tmp_path / "in/run")
    with pytest.raises(
        UsageError, match=r"\.jsonl lies in the run's own folder, so it cannot be an input of this run\."
    ):
        run(recipe_from_text(text), quiet=True)
    assert files(tmp_path / "in/run") == before


def test_a_given_column_that_the_run_makes_itself(tmp_path: Path) -> None:
    documents = tmp_path / "documents"
    documents.mkdir()
    (documents / "a.jsonl").write_text('{"id": "1", "text": "one two three"}\n')
    tagged: dict[str, Any] = {
        "output": str(tmp_path / "first"),
        "sources": {"web": {"documents": str(documents / "*.jsonl")}},
        "tag": {"taggers": ["length_v1"]},
    }
    run(recipe_from_text(json.dumps(tagged)), quiet=True)
    shutil.copytree(tmp_path / "first/attributes/length_v1/web", tmp_path / "given")
    tagged["output"] = str(tmp_path / "second")
    tagged["sources"]["web"]["attributes"] = [str(tmp_path / "given")]
    with pytest.raises(
        ConfigError, match=r"source 'web' hold length_v1, which this run makes itself\. Give its tagger"
    ):
        run(recipe_from_text(json.dumps(tagged)), quiet=True)
    assert not (tmp_path / "second").exists()


def test_prefer_cannot_look_at_what_it_decides(here: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"named 'exact'"):
        run(recipe(tmp_path / "run", dedupe__prefer="exact.keep"), dry_run=True)


@pytest.mark.parametrize(
    ("file", "said"),
    [
        (
            "mix/manifest.json",
            r"mix/manifest\.json: damaged \(.*\)\. Delete .*mix and run again; it will be made anew\.$",
        ),
        ("shards.jsonl", r"shards\.jsonl: damaged, or not a run's list of shards \(.*\)\. Use another output"),
    ],
)
def test_damaged_records_of_a_run(finished: Path, here: Path, tmp_path: Path, file: str, said: str) -> None:
    shutil.copytree(finished, tmp_path / "run")
    path = tmp_path / "run" / file
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match=said):
        run(recipe(tmp_path / "run"), quiet=True)


def test_a_tagger_of_the_script_itself(tmp_path: Path) -> None:
    script = tmp_path / "mine.py"
    script.write_text(
        "import dolma_pipeline as dp\n"
        "@dp.tagger('mine_v1', fields={'n': int})\n"
        "def mine(document):\n    '''One.'''\n    return {'n': 1}\n"
        "dp.run('my.yaml', dry_run=True)\n"
    )
    (tmp_path / "a.jsonl").write_text('{"id": "1", "text": "one two three"}\n')
    (tmp_path / "my.yaml").write_text(
        json.dumps({"output": "o", "sources": {"web": {"documents": "a.jsonl"}}, "tag": {"taggers": ["mine_v1"]}})
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "tagger 'mine_v1' is declared in the script that is run, where workers do not find it" in done.stderr


def test_nothing_passes(here: Path, tmp_path: Path) -> None:
    changes: dict[str, Any] = {"mix__where": {"none": "length_v1.words > 100000"}, "dedupe": None}
    with pytest.raises(DataError, match=r"^tokenizer/make, all: no document passes mix\.where, so"):
        run(recipe(tmp_path / "run", **changes), quiet=True)


def test_a_run_does_not_know_what_files_of_another_run_declared(here: Path, tmp_path: Path, finished: Path) -> None:
    """Neither does it clash with them, nor does what it makes depend on them: here the same file of another name."""
    shutil.copy(here / "marks.py", tmp_path / "other.py")
    run(recipe(tmp_path / "first", modules=[str(tmp_path / "other.py")]), quiet=True, stages=("tag",))
    run(recipe(tmp_path / "run"), quiet=True, stages=("tag",))
    name = "attributes/marks_v1/manifest.json"
    assert (tmp_path / "run" / name).read_bytes() == (finished / name).read_bytes()
    with pytest.raises(ConfigError, match=r"tag\.taggers\.1: no tagger named 'marks_v1'"):
        run(recipe(tmp_path / "none", modules=None), quiet=True)
