"""From a file to a recipe; every example in the docs and every shipped recipe loads."""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import pytest

from dolma_pipeline.config import load_recipe, recipe_from_text, resolved
from dolma_pipeline.config.presets import read_preset
from dolma_pipeline.config.recipe import TaggerConfig
from dolma_pipeline.errors import ConfigError
from dolma_pipeline.registry import install_modules
from dolma_pipeline.runner.modules import open_recipe

FULL = (Path(__file__).parent / "full.yaml").read_text(encoding="utf-8")
ROOT = Path(__file__).parents[3]
DOCS = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
EXAMPLES = [block for block in re.findall(r"```yaml\n(.*?)```", DOCS, re.DOTALL) if block.startswith("name:")]


def test_the_full_recipe() -> None:
    recipe = recipe_from_text(FULL)
    assert recipe.stages() == ("tag", "dedupe", "tokenizer", "mix", "tokens", "train", "eval")
    assert recipe.tag is not None
    assert recipe.tag.taggers == (
        TaggerConfig(tagger="language_v1", name="language_v1"),
        TaggerConfig(tagger="pii_v1", name="pii_v1", parameters={"phone_regions": ("US", "DE")}),
        TaggerConfig(tagger="language_v1", name="language_par", parameters={"unit": "paragraph"}),
    )
    assert recipe.mix is not None
    assert recipe.mix.target_tokens == 100_000_000
    assert recipe.mix.replace[0].with_ == " |||EMAIL_ADDRESS||| "
    assert recipe.mix.sources["web"].weight == 0.7
    assert recipe.train is not None
    assert recipe.train.lr == 0.003
    assert recipe.beam.runner == "local"


def test_a_file_with_overrides(tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_text(FULL, encoding="utf-8")
    recipe = load_recipe(str(path), "mix.target_tokens=20M", "eval=null", "train=null")
    assert recipe.mix is not None
    assert recipe.mix.target_tokens == 20_000_000
    assert recipe.stages()[-1] == "tokens"
    assert recipe.place("mix.target_tokens") == "override 'mix.target_tokens=20M': mix.target_tokens"
    with pytest.raises(ConfigError, match=r"my\.yaml:11: tag\.tagers: no key named 'tagers'\. Did you mean 'taggers'"):
        path.write_text(FULL.replace("tag:\n", "tag: {tagers: []}\nx:\n"), encoding="utf-8")
        load_recipe(str(path))


def test_shorthands_in_overrides_are_written_out_too() -> None:
    recipe = recipe_from_text(
        FULL, "beam=DirectRunner", "beam.direct_num_workers=2", "mix.mixer=unimax", "mix.mixer.t=2"
    )
    assert recipe.beam.runner == "DirectRunner"
    assert recipe.beam.options == {"direct_num_workers": 2}
    assert recipe.mix is not None
    assert (recipe.mix.mixer.name, recipe.mix.mixer.parameters) == ("unimax", {"t": 2})


def test_places() -> None:
    recipe = recipe_from_text(FULL, name="my.yaml")
    assert recipe.place("tag.taggers.1") == "my.yaml:14: tag.taggers.1"
    assert recipe.place("tag.taggers.1.phone_regions.0") == "my.yaml:14: tag.taggers.1.phone_regions.0"
    assert recipe.place("mix.where.unique") == "my.yaml:26: mix.where.unique"
    assert recipe.place("train.eps") == "my.yaml:37: train.eps"
    assert recipe.place("workers") == "workers"


def test_places_do_not_make_recipes_differ() -> None:
    one, other = recipe_from_text(FULL, name="a"), recipe_from_text("\n" + FULL, name="b")
    assert one == other
    assert one.origin != other.origin
    assert "origin" not in repr(one)
    assert pickle.loads(pickle.dumps(one)) == one


def test_what_the_docs_say_of_errors() -> None:
    said = re.search(r"`(my\.yaml:12: .*?'max_epochs'\?)`", DOCS)
    assert said is not None
    text = "output: a\nsources: {w: {documents: x}}\ntokenizer: {train: bpe}\n" + "\n" * 7 + "mix:\n  maxepochs: 1\n"
    with pytest.raises(ConfigError) as caught:
        recipe_from_text(text, name="my.yaml")
    assert str(caught.value) == said[1]


@pytest.mark.parametrize("text", EXAMPLES, ids=[block.split("\n")[0] for block in EXAMPLES])
def test_examples_of_the_docs_load(text: str) -> None:
    assert recipe_from_text(text).stages()


def test_there_are_examples() -> None:
    assert len(EXAMPLES) == 2


@pytest.mark.parametrize("path", sorted((ROOT / "pipelines").glob("*.yaml")), ids=lambda path: path.name)
def test_shipped_recipes_load(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the sections of their modules, which are named from the root of the repository."""
    monkeypatch.chdir(ROOT)
    try:
        recipe = open_recipe(str(path))
    finally:
        install_modules([])
    assert recipe.name == path.stem
    assert recipe.output == f"runs/{path.stem}"


def test_the_quickstart_does_every_stage() -> None:
    recipe = load_recipe(str(ROOT / "pipelines" / "quickstart.yaml"))
    assert recipe.stages() == ("tag", "dedupe", "tokenizer", "mix", "tokens", "train", "eval")
    assert list(recipe.sources) == ["code", "docs", "readme", "licence"]


def test_the_quickstart_has_the_thresholds_of_the_papers() -> None:
    recipe = resolved(load_recipe(str(ROOT / "pipelines" / "quickstart.yaml")))
    assert recipe.mix is not None
    for name in ("gopher", "c4"):
        where = read_preset(name).config.where
        assert {f"{name}.{rule}": sql for rule, sql in where.items()}.items() <= recipe.mix.where.items()
