"""Which rules columns can answer, and what is said of those that they cannot."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from dolma_pipeline.errors import ConfigError, DataError, UsageError
from dolma_pipeline.look.what_if import what_if
from tests.dolma_pipeline.look.conftest import loaded, made
from tests.dolma_pipeline.look.test_what_if_is_redo import check
from tests.pipeline import tiny

TEXT = {"wind": "NOT starts_with(text, 'wind ')", "unique": "exact.keep AND minhash.keep"}


@pytest.fixture(scope="module")
def with_text(tmp_path_factory: pytest.TempPathFactory, trained: Path) -> Path:
    """A run whose early rule and late rule read the text."""
    import contextlib

    folder = tmp_path_factory.mktemp("text") / "run"
    with contextlib.chdir(trained.parent):
        made(loaded(folder, mix__where={**TEXT, "late": "exact.keep OR contains(text, 'river')"}))
    return folder


def text_recipe(folder: Path) -> Any:
    return loaded(folder, mix__where={**TEXT, "late": "exact.keep OR contains(text, 'river')"})


def test_a_new_rule_that_reads_the_text_is_refused(finished: Path, here: Path) -> None:
    with pytest.raises(UsageError) as caught:
        what_if(loaded(finished), ["wind: NOT contains(text, 'wind')"])
    said = str(caught.value)
    assert said.startswith(
        "--what-if 'wind: NOT contains(text, 'wind')': rule 'wind' reads the text of source 'code', "
    )
    assert "Change the recipe and run: dolma-pipeline mix RECIPE --redo." in said
    assert what_if(loaded(finished), ["size: length(text) > 100 AND strlen(text) > 100"]).exact


def test_one_that_was_asked_keeps_its_answers_under_any_name(with_text: Path, here: Path) -> None:
    record = what_if(text_recipe(with_text), ["wind:", f"other: {TEXT['wind']}"]).record()
    for one in record["sources"].values():
        assert one["rules"]["wind"]["before"]["any"] == one["rules"]["other"]["after"]["any"]
        assert one["gained"]["documents"] == one["lost"]["documents"] == 0
    assert record["sources"]["forum"]["rules"]["wind"]["before"]["any"] == 6


def test_a_late_one_needs_the_same_election(with_text: Path, here: Path) -> None:
    assert what_if(text_recipe(with_text), ["mix.target_bytes=9000"]).exact
    with pytest.raises(UsageError, match=r"rule 'late' reads the text .* with another election of duplicates"):
        what_if(text_recipe(with_text), ["short: length_v1.words > 30"])


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ("words: length_v1.wrods > 3", ConfigError, "--what-if 'words: length_v1.wrods > 3'"),
        ("words: length_v1.wrods > 3", ConfigError, "Did you mean 'words'"),
        ("new: nobody.x > 3", ConfigError, "no attribute or column named 'nobody'"),
        ("new: chars", ConfigError, "is BIGINT, not BOOLEAN"),
        ("new: (metadata->>'$.url')::INT > 3", DataError, "TRY_CAST gives NULL instead"),
        ("mix.mixer=unknown", UsageError, "no mixer named 'unknown'"),
        ("mix.replace=[{spans: marks_v1.digits, with: x}]", ConfigError, "no span field of marks_v1 named 'digits'"),
    ],
)
def test_errors(finished: Path, here: Path, change: str, error: type[Exception], words: str) -> None:
    with pytest.raises(error) as caught:
        what_if(loaded(finished), [change])
    assert words in str(caught.value)
    assert str(caught.value).startswith(f"--what-if '{change}'")


def test_more_rules_than_a_word_has_bits(copied: Path) -> None:
    many = {f"rule_{n}": f"chars % 71 <> {n}" for n in range(70)}
    recipe = loaded(copied, mix__where={**many, **tiny.tree()["mix"]["where"]})
    made(recipe, redo=True)
    check(copied, recipe, ["rule_69: chars % 71 <> 70", "rule_3:", "last: chars > 50"])


def test_an_order_over_columns_decides_who_stays(copied: Path) -> None:
    prefer = ["len(marks_v1.names) DESC", "(metadata->>'$.stars')::INT DESC", "length_v1.words"]
    recipe = loaded(copied, dedupe__prefer=prefer)
    made(recipe, redo=True)
    check(copied, recipe, ["stars: (metadata->>'$.stars')::INT < 7"])


def test_attributes_of_dolma_lines_and_from_elsewhere(here: Path, tmp_path: Path, trained: Path) -> None:
    for name, file in tiny.FILES.items():
        source, shard = name.split("/")
        lines = []
        for row, one in enumerate(tiny.read_jsonl(here / "in" / file) if name != "web/a" else web_a(here)):
            spans = [[0, 1, row / 7]] * (row % 3)
            lines.append(json.dumps({"id": one["id"], "attributes": {"given__spans": spans}}))
        path = tmp_path / "given" / source / f"{shard}.jsonl.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress("".join(f"{line}\n" for line in lines).encode()))
    tree = tiny.tree()
    for source in tree["sources"]:
        tree["sources"][source]["attributes"] = [str(tmp_path / "given" / source)]
    tag = {"taggers": ["length_v1"], "format": "jsonl"}
    recipe = loaded(
        tmp_path / "run",
        sources=tree["sources"],
        tag=tag,
        mix__replace=[],
        mix__sources={},
        mix__where={"words": "score(length_v1.length_v1__words) >= 10", "unique": "minhash.keep"},
    )
    made(recipe)
    changes = ["words: score(length_v1.length_v1__words) >= 25", "given: len(given.spans) < 2"]
    recipe = check(tmp_path / "run", recipe, changes)
    check(tmp_path / "run", recipe, ["given: given.spans[1].score < 5 OR score(given.spans) = 0"])


def web_a(here: Path) -> list[dict[str, Any]]:
    """Documents of the shard that has a line which does not parse."""
    lines = gzip.decompress((here / "in" / tiny.FILES["web/a"]).read_bytes()).decode().splitlines()
    return [json.loads(line) for line in lines if line != tiny.BAD_LINE]
