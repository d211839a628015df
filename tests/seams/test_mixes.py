"""Several named mixes, by `modules:` alone: each is what a run of its own would make of its section."""

from __future__ import annotations

import copy
import random
import secrets
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

from dolma_pipeline import registry
from dolma_pipeline.engines import Here
from dolma_pipeline.errors import ConfigError, DataError, DolmaError, SettingsChangedError, UsageError
from dolma_pipeline.look.clean import removable
from dolma_pipeline.look.plan import plan
from dolma_pipeline.run import layout
from dolma_pipeline.run.manifests import read_manifest
from dolma_pipeline.run.stage import STAGES
from dolma_pipeline.runner import Result, run
from dolma_pipeline.runner.modules import open_recipe
from dolma_pipeline.storage.folder import RunFolder, run_folder
from tests.dolma_pipeline.stages.small import write_shards
from tests.pipeline.tiny import engine

MIX: dict[str, Any] = {
    "where": {"some": "length_v1.words > 2", "unique": "exact.keep"},
    "replace": [{"spans": "ats_v1.names", "with": "NAME"}],
    "held_out": {"share": 0.2},
    "keep_metadata": ["url"],
}
SMALL: dict[str, Any] = {
    "where": {"long": "length_v1.words > 4", "plain": "text NOT LIKE '%zzz%'", "unique": "exact.keep"},
    "sources": {
        "web": {"remove": ["ats_v1.names"], "min_chars": 20, "weight": 2},
        "code": {"weight": 1, "where": {"digits": "ats_v1.digits < 3"}},
    },
    "target_documents": 25,
    "max_epochs": 2,
    "held_out": {"share": 0.1},
    "documents": True,
}
OTHER: dict[str, Any] = {
    "where": {"few": "length_v1.words < 9", "west": "text NOT LIKE '%東京%'", "unique": "exact.keep"},
    "replace": [*MIX["replace"]],
}
TOKENS: dict[str, Any] = {"max_shard_tokens": 300, "keep_attributes": ["length_v1.words"]}
TOKENS_SMALL: dict[str, Any] = {"max_shard_tokens": 200, "keep_attributes": ["ats_v1.digits"]}
ALL = {"mix": MIX, "tokens": TOKENS, "small": SMALL, "tokens_small": TOKENS_SMALL, "other": OTHER}


def documents() -> dict[str, list[dict[str, Any]]]:
    """Of those that have copies all pass the rules of every mix, so that the election is the same for each."""
    rng = random.Random(5)
    words = "river stone winter letter garden @anna @bob zzz 12345 Straße 東京 naïve".split()  # noqa: SIM905
    shards = {}
    for name in ("web/a", "web/b", "code/c"):
        texts = [" ".join([*(rng.choice(words) for _ in range(rng.randrange(11))), f"{name}{i}"]) for i in range(30)]
        texts += [f"copy {i} of one text by @anna" for i in range(4)]
        shards[name] = [
            {"id": f"{name}-{i}", "text": text, "metadata": {"url": f"u{i}"}} for i, text in enumerate(texts)
        ]
    return shards


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with documents, the user's file and a tokenizer; what the file registers is forgotten at the end."""
    folder = tmp_path_factory.mktemp("mixes")
    shutil.copy(Path(__file__).parent / "my_mixes.py", folder / "my_mixes.py")
    write_shards(folder, documents())
    trained, _ = launch(folder, tokenizer={"train": "bpe", "vocab_size": 300})
    (folder / "tokenizer.json").write_bytes(trained.read(layout.TOKENIZER))
    yield folder
    registry.install_modules([])
    assert not {"small", "tokens_small", "other", "judge_small", "verdicts_other"} & {*STAGES}


def written(place: Path, output: str, sections: Mapping[str, Any]) -> str:
    """The path of a recipe."""
    recipe = {
        "output": output,
        "seed": 4,
        "modules": [str(place / "my_mixes.py")],
        "sources": {name: {"documents": f"{place}/in/{name}/*"} for name in ("web", "code")},
        "tag": {"taggers": ["length_v1", "ats_v1"]},
        "dedupe": {"steps": [{"name": "exact", "kind": "exact"}]},
        "tokenizer": {"load": str(place / "tokenizer.json")},
        **sections,
    }
    path = place / f"{secrets.token_hex(4)}.yaml"
    path.write_text(yaml.safe_dump({k: v for k, v in recipe.items() if v is not None}, sort_keys=False))
    return str(path)


def launch(
    place: Path, *, output: str = "", redo: bool = False, stages: tuple[str, ...] = (), **sections: Any
) -> tuple[RunFolder, Result]:
    """A whole run; some tasks are repeated."""
    output = output or f"memory://{secrets.token_hex(8)}"
    with engine(Here(again=True, repeated=0.3, seed=1)):
        result = run(written(place, output, sections), quiet=True, redo=redo, stages=stages)
    return run_folder(output), result


@pytest.fixture(scope="module")
def together(place: Path) -> tuple[RunFolder, Result]:
    """All mixes in one run; to look at only."""
    return launch(place, **ALL)


def promised(folder: RunFolder, *under: str) -> dict[str, bytes]:
    names = [e.name for e in folder.list() if e.name.split("/")[0] not in layout.UNPROMISED]
    return {name: folder.read(name) for name in names if not under or name.split("/")[0] in under}


def begun(folder: RunFolder, since: int = 0) -> list[str]:
    """The phases of a run, in order, without those before event number `since`."""
    return [one["step"] for one in events(folder)[since:] if one["event"] == "begin"]


def events(folder: RunFolder) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in folder.read("log/events.jsonl").splitlines()]


def test_each_is_what_a_run_of_its_own_makes(place: Path, together: tuple[RunFolder, Result]) -> None:
    """Verdicts, choice, documents and parts; their manifests but for names."""
    folder, _ = together
    for mix, tokens, settings in (("small", "tokens_small", SMALL), ("mix", "tokens", MIX), ("other", "", OTHER)):
        own = {"mix": settings, **({"tokens": ALL[tokens]} if tokens else {})}
        alone, _ = launch(place, **own)
        expected = promised(alone, "mix", "tokens")
        names = {name: name.replace("mix/", f"{mix}/").replace("tokens/", f"{tokens}/") for name in expected}
        assert len([name for name in names if name.startswith("tokens/train/")]) >= (6 if tokens else 0)
        for name, content in expected.items():
            found = folder.read(names[name])
            if name.endswith("manifest.json"):
                for key in ("counts", "plan", "unit", "dataset", "dtype", "shards"):
                    assert orjson.loads(found).get(key) == orjson.loads(content).get(key), (mix, name, key)
            else:
                assert found == content, (mix, name)
        assert {*promised(folder, mix, tokens or mix)} == {*names.values()}


def test_one_after_the_other_gives_the_same_bytes(place: Path, together: tuple[RunFolder, Result]) -> None:
    some = {name: ALL[name] for name in ("mix", "tokens")}
    folder, _ = launch(place, **some)
    before, ids = promised(folder), {entry.name for entry in folder.list("cache/ids")}
    since = len(events(folder))
    launch(place, output=folder.url, **some, other=OTHER)
    assert {*promised(folder)} - {*before} == {*promised(folder, "other")}
    assert {e.name for e in folder.list("cache/ids") if e.name.split("/")[2] not in {i.split("/")[2] for i in ids}} == (
        set()
    ), "equal edits: the ids of those that pass in both are not made again"
    assert begun(folder, since) == [
        "scan", "other/judge", "other/decide", "other/encode", "other/plan", "other/write", "other/close"
    ]  # fmt: skip
    launch(place, output=folder.url, **ALL)
    assert promised(folder) == promised(together[0])
    assert launch(place, output=folder.url, **ALL)[1].nothing_to_do


def test_several_are_made_in_one_reading(together: tuple[RunFolder, Result]) -> None:
    for reading in ("encode", "write"):
        (step,) = [step for step in begun(together[0]) if reading in step and "+" in step]
        assert {*step.split("+")} == {reading, f"small/{reading}", f"other/{reading}"}


def test_the_same_documents_with_others_held_out(place: Path) -> None:
    """Both are encoded in one reading into files of one name; which texts lie beside them decides nothing."""
    other = {**MIX, "held_out": {"share": 0.6}, "documents": False}
    for first, second in ((MIX, other), (other, MIX)):
        folder, _ = launch(place, mix=first, other=second)
        for mix, settings in (("mix", first), ("other", second)):
            expected = promised(launch(place, mix=settings)[0], "mix")
            found = promised(folder, mix)
            for name in (name for name in expected if not name.endswith("manifest.json")):
                assert found[name.replace("mix/", f"{mix}/")] == expected[name], (mix, name)


def test_only_the_mix_that_changed_is_made_again(place: Path) -> None:
    folder, _ = launch(place, **ALL)
    before, since = promised(folder), len(events(folder))
    changed: dict[str, Any] = copy.deepcopy(ALL)
    changed["small"]["where"]["x"] = "chars < 60"
    changed["small"]["sources"]["web"]["min_chars"] = 25
    del changed["small"]["sources"]["code"]["where"]["digits"]
    with pytest.raises(SettingsChangedError) as error:
        launch(place, output=folder.url, **changed)
    text = str(error.value)
    for line in (
        "  small.where.x: (nothing) -> 'chars < 60'\n",
        "  small.sources.web.min_chars: 20 -> 25\n",
        "  small.sources.code.where.digits: 'ats_v1.digits < 3' -> (nothing)\n",
        "this makes again: small/verdicts, small, tokens_small\n",
    ):
        assert line in text, text
    assert " mix" not in text
    launch(place, output=folder.url, redo=True, **changed)
    after = promised(folder)
    assert {name for name in after if after[name] != before.get(name)} <= {*promised(folder, "small", "tokens_small")}
    assert after["small/manifest.json"] != before["small/manifest.json"]
    assert after["tokens_small/manifest.json"] != before["tokens_small/manifest.json"]
    assert all(step.split("/")[0] in ("small", "tokens_small") for step in begun(folder, since))
    assert after == promised(launch(place, **changed)[0])


def test_edits_of_one_mix_change_no_other(place: Path) -> None:
    folder, _ = launch(place, **ALL)
    changed: dict[str, Any] = copy.deepcopy(ALL)
    changed["mix"]["replace"] = [{"spans": "ats_v1.names", "with": "SOMEBODY"}]
    words = r"\n  mix\.replace.*\nthis makes again: mix, tokens\n"
    with pytest.raises(SettingsChangedError, match=words):
        launch(place, output=folder.url, **changed)
    launch(place, output=folder.url, redo=True, **changed)
    assert promised(folder) == promised(launch(place, **changed)[0])


def test_rules_and_edits_of_what_is_made_after_the_election(place: Path) -> None:
    """A user's stage that comes before the verdicts comes before those of every mix; so do late rules on the text."""
    modules = [str(place / "my_mixes.py"), str(Path(__file__).parent / "mine.py")]
    masks = {"chars": 5, "step": "exact"}
    late = {
        "where": {"cut": "text NOT LIKE 'copy%' OR NOT exact.keep", "few": "len(masks.spans) < 2"},
        "sources": {"web": {"remove": ["masks.spans"], "min_chars": 22}},
    }
    folder, _ = launch(place, modules=modules, masks=masks, mix={}, small=late, tokens_small={})
    alone, _ = launch(place, modules=modules, masks=masks, mix=late, tokens={})
    expected, found = promised(alone, "mix", "tokens"), promised(folder, "small", "tokens_small")
    assert {"asked_late_small", "attributes/masks"} <= {*(read_manifest(folder, "small/verdicts") or {})["needs"]}
    for name in (name for name in expected if not name.endswith("manifest.json")):
        assert found[name.replace("mix/", "small/").replace("tokens/", "tokens_small/")] == expected[name], name


def test_new_documents_go_into_every_mix(place: Path, tmp_path: Path) -> None:
    for name in ("my_mixes.py", "tokenizer.json"):
        shutil.copy(place / name, tmp_path / name)
    write_shards(tmp_path, {name: rows for name, rows in documents().items() if name != "web/b"})
    folder, _ = launch(tmp_path, **ALL)
    fewer = read_manifest(folder, "small") or {}
    write_shards(tmp_path, documents())
    launch(tmp_path, output=folder.url, **ALL)
    assert (read_manifest(folder, "small") or {})["counts"]["web"]["in"] > fewer["counts"]["web"]["in"]
    assert promised(folder) == promised(launch(tmp_path, **ALL)[0])


def test_its_manifest_speaks_of_its_own_section(together: tuple[RunFolder, Result]) -> None:
    folder, _ = together
    found = read_manifest(folder, "small") or {}
    assert found["stage"] == "small"
    assert found["config"]["small.target_documents"] == 25
    assert found["source_config"]["web"]["small.sources.web.remove"] == ["ats_v1.names"]
    verdicts = read_manifest(folder, "small/verdicts") or {}
    assert verdicts["config"]["small.where.long"] == "length_v1.words > 4"
    assert verdicts["source_config"]["web"]["small.where: order"] == ["long", "plain", "unique", "min_chars"]
    assert {"judged_small", "asked_early_small"} & {*verdicts["needs"]} == {"judged_small"}
    assert (read_manifest(folder, "tokens_small") or {})["config"]["tokens_small.max_shard_tokens"] == 200
    for name in ("mix", "mix/verdicts", "small", "small/verdicts", "tokens_small"):
        made = read_manifest(folder, name) or {}
        keys = {key for config in (made["config"], *made["source_config"].values()) for key in config}
        assert {key.split(".")[0] for key in keys} <= {name.split("/")[0], "seed"}, name
        assert made["files"] == {}, "the user's file only gives names"


def test_the_recipe_of_the_folder_gives_it_again(place: Path, tmp_path: Path) -> None:
    """What follows from other keys is written out: parts are made of `small` alone, so `other` writes documents."""
    folder, _ = launch(place, **{**ALL, "small": {**SMALL, "documents": None}}, output=str(tmp_path / "run"))
    recipe = yaml.safe_load(folder.read(layout.RECIPE))
    assert [recipe[name]["documents"] for name in ("mix", "small", "other")] == [False, False, True]
    assert recipe["small"]["held_out"] == {"share": 0.1, "max_tokens": 1_000_000, "max_bytes": None}
    with engine(Here()):
        assert run(str(tmp_path / "run" / layout.RECIPE), quiet=True).nothing_to_do


def test_rows_of_the_table(together: tuple[RunFolder, Result]) -> None:
    folder, result = together
    lines = result.text().splitlines()
    stages = {line.split()[0]: line.split() for line in lines[: lines.index("")]}
    rows = ["tag", "dedupe", "tokenizer", "mix", "tokens", "small", "other", "tokens_small"]
    assert sorted([*stages][3:]) == sorted(rows)
    for mix in ("mix", "small", "other"):
        counts = [read_manifest(folder, mix)["counts"][s]["kept"] for s in ("web", "code")]  # type: ignore[index]
        assert stages[mix][1:3] == ["102", str(sum(counts))]
    made = read_manifest(folder, "tokens_small") or {}
    assert stages["tokens_small"][1] == str(sum(one["documents"] for one in made["counts"].values()))
    assert "dropped by rule (small; first reason / any reason / only reason)" in lines
    assert "sources" in lines
    assert "sources (other)" in lines


def test_times_are_those_of_its_own_phases(place: Path) -> None:
    """A later run of one mix alone has no time of another's row."""
    from dolma_pipeline.runner.table import _timings

    folder, _ = launch(place, mix=MIX)
    since = len(events(folder))
    launch(place, output=folder.url, mix=MIX, small=SMALL)
    assert {*_timings(events(folder)[since:])} == {"tag", "small"}, "a rule that reads the text is asked in a scan"
    assert {*_timings(events(folder)[:since])} >= {"mix"}


def test_one_of_them_alone(place: Path, together: tuple[RunFolder, Result]) -> None:
    """With what it needs of stages that have no command; the same bytes."""
    folder, _ = launch(place, stages=("tag", "dedupe", "tokenizer"), **ALL)
    launch(place, output=folder.url, stages=("small",), **ALL)
    assert folder.stat("mix/plan.json") is None
    words = r"tokens_small needs small, which is not done \(new\)\. Do all with: dolma-pipeline run RECIPE"
    with pytest.raises(UsageError, match=words):
        launch(place, stages=("tag", "dedupe", "tokenizer", "tokens_small"), **ALL)
    with pytest.raises(UsageError, match=r"tokens needs mix, which is not done \(new\)"):
        launch(place, output=folder.url, stages=("tokens",), **ALL)
    launch(place, output=folder.url, stages=("tokens_small",), **ALL)
    assert promised(folder, "small", "tokens_small") == promised(together[0], "small", "tokens_small")


def test_without_the_mix_that_is_called_mix(place: Path) -> None:
    """Nobody's rules decide who stays of copies, and a tokenizer is trained on everything."""
    folder, _ = launch(place, small=SMALL, tokens_small=TOKENS_SMALL, tokenizer={"train": "bpe", "vocab_size": 300})
    assert not promised(folder, "mix", "tokens")
    assert promised(folder, "tokens_small")
    assert (read_manifest(folder, "attributes/exact") or {})["needs"].keys() == {
        "dedupe/exact",
        "index",
        "shards.jsonl",
    }
    assert "mix/verdicts" not in (read_manifest(folder, "tokenizer") or {})["needs"]
    plain, _ = launch(place, small={**SMALL, "documents": None}, tokenizer=None)
    assert (read_manifest(plain, "small") or {})["unit"] == "documents"
    assert promised(plain, "small").keys() >= {"small/documents/web/a.jsonl.zst", "small/held_out/web/a.jsonl.zst"}


WRONG = {
    r": small\.where\.min_chars: 'min_chars' is the name of a rule that": {"small": {"where": {"min_chars": "true"}}},
    r": small\.sources\.web\.weight: needs a budget: set one of small\.target_tokens, small": {
        "small": {"sources": {"web": {"weight": 1}}}
    },
    r": small\.max_epoch: no key named 'max_epoch'\. Did you mean 'max_epochs'": {"small": {"max_epoch": 1}},
    r": small\.sources\.wob: no source named 'wob'": {"small": {"sources": {"wob": {}}}},
    r": small\.mixer: no mixer named 'proportionl'": {"small": {"mixer": "proportionl"}},
    r": small\.where\.long: no .*'lenght_v1'": {"small": {"where": {"long": "lenght_v1.words > 1"}}},
    r": small\.replace\.0\.spans: no span field of ats_v1 named 'nam'": {
        "small": {"replace": [{"spans": "ats_v1.nam", "with": ""}]}
    },
    r": tokens_small: needs `small`, which the recipe does not have; add it, or leave out `tokens_small`": {
        "tokens_small": {}
    },
    r": tokens_small: needs `tokenizer`, which the recipe does not have; add it": {
        "small": {}, "tokens_small": {}, "tokenizer": None
    },
    r": small\.target_tokens: counts tokens, which needs `tokenizer`; add it, or use `small\.target_bytes`": {
        "small": {"target_tokens": 5}, "tokenizer": None
    },
    r": tokens_small\.keep_attributes\.0: no attribute named 'langth_v1'": {
        "small": {}, "tokens_small": {"keep_attributes": ["langth_v1.words"]}
    },
    r": tokens_small\.eos: .*no special token": {"small": {}, "tokens_small": {"eos": "<end>"}},
}  # fmt: skip


@pytest.mark.parametrize("words", WRONG)
def test_what_is_wrong_in_it_is_said_by_its_own_keys(place: Path, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        launch(place, **{"mix": MIX, **WRONG[words]})


def test_nothing_passes(place: Path) -> None:
    with pytest.raises(DataError, match=r"small: no document passes.*102 fail never.*Loosen small\.where\."):
        launch(place, mix=MIX, small={"where": {"never": "length_v1.words < 0"}})


def test_looks_are_at_the_mix_that_is_called_mix(place: Path, tmp_path: Path) -> None:
    folder, _ = launch(place, **ALL, output=str(tmp_path / "run"))
    planned = plan(open_recipe(written(place, str(tmp_path / "run"), ALL))).record()
    launch(place, mix=MIX, tokens=TOKENS, output=str(tmp_path / "alone"))
    expected = plan(open_recipe(written(place, str(tmp_path / "alone"), {"mix": MIX, "tokens": TOKENS}))).record()
    for name, one in expected["sources"].items():
        assert planned["sources"][name]["plan"] == one["plan"]
    assert next(one.num_files for one in removable(folder, ["old"])) == 0, "caches of all mixes are of their settings"
    assert {e.name.split("/")[1] for e in folder.list(layout.CACHE)} >= {"judged", "judged_small", "judged_other"}


def test_a_mix_is_forgotten_when_its_file_names_it_no_longer(place: Path) -> None:
    path = place / "my_mixes.py"
    before = path.read_text()
    path.write_text(before.replace('register_mix("other")\n', ""))
    try:
        with pytest.raises(DolmaError, match=r": other: no key named 'other'"):
            launch(place, **ALL)
        assert "other" not in STAGES
    finally:
        path.write_text(before)
    folder, _ = launch(place, other=OTHER)
    assert promised(folder, "other")
