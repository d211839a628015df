"""What comes from outside, by `modules:` alone: formats, kinds, stages, documents and spans of stages, commands."""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
import yaml

from dolma_pipeline import registry
from dolma_pipeline.cli.app import dispatch
from dolma_pipeline.cli.arguments import Arguments, Reply
from dolma_pipeline.cli.command import Command, Option
from dolma_pipeline.cli.commands import COMMANDS
from dolma_pipeline.engines import Here
from dolma_pipeline.errors import ConfigError, DataError, SettingsChangedError
from dolma_pipeline.run import layout
from dolma_pipeline.run.manifests import read_lines, read_manifest
from dolma_pipeline.run.stage import STAGES
from dolma_pipeline.runner import Result, run
from dolma_pipeline.stages.tokens.stage import TokensStage
from dolma_pipeline.storage.folder import RunFolder, run_folder
from tests.pipeline.tiny import engine

SLASHES = "SLASHES\none two/THREE FOUR/five\n"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the user's file; what it registers is forgotten at the end."""
    folder = tmp_path_factory.mktemp("seams")
    shutil.copy(Path(__file__).parent / "mine.py", folder / "mine.py")
    yield folder
    registry._forget(str(folder / "mine.py"))
    assert not {"shout", "masks", "unpack"} & {*STAGES}


def write(place: Path, name: str, content: str | list[str]) -> None:
    path = place / name
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({"id": f"d{i}", "text": text}) + "\n" for i, text in enumerate(content)]
    path.write_text(content if isinstance(content, str) else "".join(lines), encoding="utf-8")


def launch(place: Path, recipe: dict[str, Any], *, output: str = "", **options: Any) -> tuple[RunFolder, Result]:
    """A whole run, from YAML."""
    output = output or f"memory://{secrets.token_hex(8)}"
    path = place / f"{secrets.token_hex(4)}.yaml"
    path.write_text(yaml.safe_dump({"output": output, "modules": [str(place / "mine.py")], **recipe}, sort_keys=False))
    with engine(Here(again=True, repeated=0.3, seed=1)):
        result = run(str(path), quiet=True, **options)
    return run_folder(output), result


def rows(folder: RunFolder, name: str) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    with folder.random(name) as file:
        return pq.read_table(file).to_pylist()


def source(place: Path, folder: str) -> dict[str, Any]:
    return {"documents": f"{place}/{folder}/*"}


def test_a_document_format(place: Path) -> None:
    write(place, "format/a.slashes", SLASHES)
    write(place, "format/b.jsonl", ["plain"])
    recipe = {"sources": {"web": source(place, "format")}, "tag": {"taggers": ["length_v1"]}}
    folder, _ = launch(place, recipe)
    assert [row["chars"] for row in rows(folder, "index/web/a.parquet")] == [7, 10, 4]
    assert [row["length_v1"]["words"] for row in rows(folder, "attributes/length_v1/web/a.parquet")] == [2, 2, 1]
    assert [json.loads(line)["format"] for line in folder.read("shards.jsonl").splitlines()] == ["slashes", "jsonl"]
    config = (read_manifest(folder, "index") or {})["source_config"]["web"]
    assert [*config] == ["modules: mine.py (format slashes)"]


def test_a_dedupe_kind_with_keys_of_its_own(place: Path) -> None:
    write(place, "kind/a.jsonl", ["abc", "xyz", "abcd", "wxyz", "long text", "x"])
    steps = [{"name": "same", "kind": "same_length", "min_chars": 4}]
    recipe = {"sources": {"web": source(place, "kind")}, "dedupe": {"steps": steps}}
    folder, _ = launch(place, recipe)
    keep = [row["same"]["keep"] for row in rows(folder, "attributes/same/web/a.parquet")]
    assert keep == [True, True, True, False, True, True]
    found = read_manifest(folder, "dedupe/same") or {}
    assert found["config"] == {"dedupe.steps.same.kind": "same_length", "dedupe.steps.same.min_chars": 4}
    assert [*found["files"]] == ["modules: mine.py (dedupe kind same_length)"]
    steps[0]["kind"] = "same_lenght"
    words = r": dedupe\.steps\.0\.kind: no dedupe kind named 'same_lenght'\. Did you mean 'same_length'"
    with pytest.raises(ConfigError, match=words):
        launch(place, recipe)


def test_a_dedupe_kind_that_marks_spans(place: Path) -> None:
    write(place, "spans/a.jsonl", ["One sentence. Another one", "New here. One sentence. No", "No. Another one"])
    recipe = {
        "sources": {"web": source(place, "spans")},
        "dedupe": {"steps": [{"name": "twice", "kind": "sentences", "at_least": 5}]},
        "mix": {"where": {"own": "twice.coverage < 0.7"}, "replace": [{"spans": "twice.spans", "with": "(…)"}]},
    }
    folder, _ = launch(place, recipe)
    found = [row["twice"] for row in rows(folder, "attributes/twice/web/a.parquet")]
    spans = [[(span["start"], span["end"]) for span in one["spans"]] for one in found]
    assert spans == [[], [(10, 22)], [(4, 15)]]
    assert [one["coverage"] for one in found] == [0, 12 / 26, 11 / 15]
    assert [one["elsewhere"] for one in found] == [23 / 25, 12 / 26, 11 / 15]
    assert [row["rules"] for row in rows(folder, "mix/dropped/web/a.parquet")] == [["own"]]


def test_a_stage_with_a_section_of_its_own(place: Path) -> None:
    write(place, "stage/a.jsonl", ["I SHOUT loud", "quiet", "NO NO no"])
    recipe = {
        "sources": {"web": source(place, "stage")},
        "shout": {"min_letters": 2},
        "tag": {"taggers": ["length_v1"]},
    }
    folder, result = launch(place, recipe)
    assert orjson.loads(folder.read("shout/web/a.json")) == [1, 0, 2]
    found = read_manifest(folder, "shout") or {}
    assert found["config"] == {"shout.min_letters": 2}
    assert found["counts"]["web"]["shouts"] == 3
    assert [*found["files"]] == ["modules: mine.py (stage shout)"]
    assert next(line.split()[:2] for line in result.text().splitlines() if line.startswith("shout")) == ["shout", "3"]
    events = [orjson.loads(line) for line in folder.read("log/events.jsonl").splitlines()]
    assert [one["step"] for one in events if one["event"] == "begin"] == ["scan"], "one reading for all"


def test_its_keys_are_checked_and_changes_are_told_by_them(place: Path) -> None:
    write(place, "keys/a.jsonl", ["ONE", "I AM"])
    recipe: dict[str, Any] = {"sources": {"web": source(place, "keys")}, "shout": {"min_letters": 2}}
    folder, _ = launch(place, recipe)
    recipe["shout"] = {"min_leters": 1}
    with pytest.raises(ConfigError, match=r"shout\.min_leters: no key named 'min_leters'\. Did you mean 'min_letters'"):
        launch(place, recipe)
    recipe["shout"] = {"min_letters": 1}
    with pytest.raises(SettingsChangedError, match=r"\n  shout\.min_letters: 2 -> 1\nthis makes again: shout\n"):
        launch(place, recipe, output=folder.url)
    launch(place, recipe, output=folder.url, redo=True)
    assert orjson.loads(folder.read("shout/web/a.json")) == [1, 2]
    assert launch(place, recipe, output=folder.url)[1].nothing_to_do


def test_another_text_of_its_file_is_told(place: Path, tmp_path: Path) -> None:
    write(place, "file/a.jsonl", ["ONE"])
    recipe = {"sources": {"web": source(place, "file")}, "shout": {}}
    folder, _ = launch(place, recipe)
    path = place / "mine.py"
    before = path.read_text()
    path.write_text(before + "\n# another comment\n")
    try:
        with pytest.raises(
            SettingsChangedError, match=r"\n  modules: mine\.py \(stage shout\): other content\nthis makes"
        ):
            launch(place, recipe, output=folder.url)
    finally:
        path.write_text(before)
    assert launch(place, recipe, output=folder.url)[1].nothing_to_do


TEXTS = ["same text here", "same text here", "other text", "same text here", "ab", "ab"]


def test_edits_whose_spans_are_made_after_the_election(place: Path) -> None:
    """Copies lose their beginning; how long they are then is known when duplicates are marked, and not before."""
    write(place, "late/a.jsonl", TEXTS)
    recipe: dict[str, Any] = {
        "sources": {"web": source(place, "late")},
        "dedupe": {"steps": [{"name": "exact", "kind": "exact"}]},
        "masks": {"chars": 5, "step": "exact"},
        "mix": {"where": {"any": "chars > 0", "few": "len(masks.spans) < 2"},
                "sources": {"web": {"remove": ["masks.spans"], "min_chars": 1}}},
    }  # fmt: skip
    folder, _ = launch(place, recipe)
    expected = [text if i in (0, 2, 4) else text[5:] for i, text in enumerate(TEXTS)]
    found = [orjson.loads(line)["text"] for line in unpacked(folder, "mix/documents/web/a.jsonl.zst")]
    assert found == [text for text in expected if text]
    assert [row["rules"] for row in rows(folder, "mix/dropped/web/a.parquet")] == [["min_chars"]]
    verdicts = rows(folder, "mix/verdicts/web/a.parquet")
    assert [row["edited_chars"] for row in verdicts] == [len(text) for text in expected]
    assert "attributes/masks" in (read_manifest(folder, "mix/verdicts") or {})["needs"]
    recipe["masks"]["chars"] = 4
    with pytest.raises(
        SettingsChangedError, match=r"\n  masks\.chars: 5 -> 4\nthis makes again: attributes/masks, mix"
    ):
        launch(place, recipe, output=folder.url)
    launch(place, recipe, output=folder.url, redo=True)
    fresh, _ = launch(place, recipe)
    assert promised(folder) == promised(fresh)


def unpacked(folder: RunFolder, name: str) -> list[bytes]:
    import zstandard

    return zstandard.ZstdDecompressor().decompressobj().decompress(folder.read(name)).splitlines()


def promised(folder: RunFolder) -> dict[str, bytes]:
    names = [e.name for e in folder.list() if e.name.split("/")[0] not in layout.UNPROMISED]
    return {name: folder.read(name) for name in names}


def test_documents_that_a_stage_makes(place: Path) -> None:
    write(place, "packed/a.slashes", SLASHES)
    write(place, "loose/b.jsonl", ["plain text"])
    recipe = {
        "sources": {"packed": source(place, "packed"), "loose": source(place, "loose")},
        "unpack": {"sources": ["packed"]},
        "tag": {"taggers": ["length_v1"]},
        "mix": {"where": {"long": "length_v1.words > 1"}},
    }
    folder, _ = launch(place, recipe)
    assert [orjson.loads(line)["text"] for line in folder.read("unpacked/packed/a.jsonl").splitlines()] == [
        "ONE TWO", "THREE FOUR", "FIVE"
    ]  # fmt: skip
    assert [row["chars"] for row in rows(folder, "index/packed/a.parquet")] == [7, 10, 4]
    documents = [orjson.loads(line) for line in unpacked(folder, "mix/documents/packed/a.jsonl.zst")]
    assert [(one["text"], one["origin"]) for one in documents] == [
        ("ONE TWO", "packed/a#0"), ("THREE FOUR", "packed/a#1")
    ]  # fmt: skip
    assert [orjson.loads(line)["text"] for line in unpacked(folder, "mix/documents/loose/b.jsonl.zst")] == [
        "plain text"
    ]
    lines = {line["shard"]: line["inputs"][0] for line in read_lines(folder, "index")}
    import hashlib

    assert lines["packed/a"]["sha256"] == hashlib.sha256(SLASHES.encode()).hexdigest(), "of what the run was given"
    assert "unpacked" in (read_manifest(folder, "index") or {})["needs"]
    assert launch(place, recipe, output=folder.url)[1].nothing_to_do
    write(place, "packed/a.slashes", SLASHES.replace("one", "six"))
    with pytest.raises(DataError, match=r"packed/a\.slashes: the file was changed"):
        launch(place, recipe, output=folder.url)
    launch(place, recipe, output=folder.url, redo=True)
    assert promised(folder) == promised(launch(place, recipe)[0])


def test_a_token_format(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(place, "tokens/a.jsonl", [f"some text number {i}" for i in range(40)])
    recipe: dict[str, Any] = {
        "sources": {"web": source(place, "tokens")},
        "tokenizer": {"train": "bpe", "vocab_size": 270},
        "mix": {},
        "tokens": {"max_shard_tokens": 100},
    }
    ours, _ = launch(place, recipe)
    monkeypatch.setattr(TokensStage, "format", "lists")
    folder, _ = launch(place, recipe)
    names = [e.name for e in folder.list("tokens/train")]
    assert {name.rpartition(".")[2] for name in names} == {"lists", "origins"}
    stems = sorted({name.rpartition(".")[0] for name in names})
    assert len(stems) > 2
    for stem in stems:
        ids = [id_ for line in folder.read(f"{stem}.lists").splitlines() for id_ in orjson.loads(line)]
        assert ids == np.frombuffer(ours.read(f"{stem}.npy"), np.uint16).tolist()
        assert folder.read(f"{stem}.origins").decode().split() == [
            row["origin"] for row in rows(ours, f"{stem}.parquet")
        ]
    found = read_manifest(folder, "tokens") or {}
    assert [*found["files"]] == ["modules: mine.py (token format lists)"]
    assert found["dataset"].startswith("sha256:")
    assert found["dataset"] != (read_manifest(ours, "tokens") or {})["dataset"]


def main(arguments: Arguments) -> Reply:
    """A command from outside; see `test_a_command_with_options_of_its_own`."""
    return Reply(f"dug {arguments.words[0]} {arguments.values['--depth'][0]} {'--wide' in arguments.flags}\n")


def test_a_command_with_options_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    options = (
        Option(name="--depth", purpose="how deep", value="METRES"),
        Option(name="--wide", purpose="a wide hole"),
    )
    dig = Command(name="dig", group="Look", summary="a hole", module=__name__, usage="PLACE", details="Digs.",
                  example="dolma-pipeline dig here --depth 3", options=options)  # fmt: skip
    monkeypatch.setitem(COMMANDS, "dig", dig)  # type: ignore[arg-type]
    assert dispatch(["dig", "here", "--depth", "3", "--wide"]).text == "dug here 3 True\n"
    assert "--depth METRES" in dispatch(["dig", "--help"]).text
