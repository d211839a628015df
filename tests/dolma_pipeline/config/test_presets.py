"""Presets are read from files: ours, a user's path, an installed package's; errors have their place."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from dolma_pipeline.config import presets
from dolma_pipeline.config.presets import names, preset_names, read_preset
from dolma_pipeline.config.recipe import ReplaceConfig, TaggerConfig
from dolma_pipeline.errors import ConfigError, UsageError

OWN = """
summary: ours
taggers: [length_v1, {tagger: pii_v1, name: pii, phone_regions: [DE]}]
where: {long: length_v1.chars > 9}
remove: {phones: pii.phone}
replace: {mails: {spans: pii.email, with: M}}
"""


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    presets._known.cache_clear()
    yield
    presets._known.cache_clear()


def written(folder: Path, text: str, name: str = "own.yaml") -> str:
    (folder / name).write_text(text, encoding="utf-8")
    return str(folder / name)


def test_a_file(tmp_path: Path) -> None:
    path = written(tmp_path, OWN)
    preset = read_preset(path)
    assert (preset.name, preset.path) == ("own", path)
    assert preset.config.papers == ()
    assert preset.config.taggers == (
        TaggerConfig(tagger="length_v1", name="length_v1"),
        TaggerConfig(tagger="pii_v1", name="pii", parameters={"phone_regions": ("DE",)}),
    )
    assert preset.config.remove == {"phones": ("pii.phone",)}
    assert preset.config.replace == {"mails": ReplaceConfig(spans="pii.email", with_="M")}
    assert preset.rules == ["own.long", "own.phones", "own.mails"]
    assert preset.origin["where.long"] == f"{path}:4"


def test_home_and_a_path_without_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, OWN)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert read_preset("~/own.yaml").name == "own"
    monkeypatch.chdir(tmp_path)
    assert read_preset("own.yaml").name == "own"
    with pytest.raises(
        ConfigError, match=r"no preset named 'own'\..* There is a file of that name: write \./own\.yaml"
    ):
        read_preset("own")


@pytest.mark.parametrize("name", preset_names())
def test_ours_say_where_they_are_from(name: str) -> None:
    preset = read_preset(name)
    assert preset.path == f"pipelines/rules/{name}.yaml"
    assert preset.config.papers
    assert all(re.search(r"\b(19|20)\d\d\b", paper) for paper in preset.config.papers)
    docs = (presets.FOLDER.parents[1] / "docs" / "presets.md").read_text(encoding="utf-8")
    assert f"\n| `{name}` |" in docs


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"own\.yaml:1: the file is empty; a preset needs at least `summary` and one of `where`"),
        ("where: {a: b}", r"summary: is missing; expected text: what it is, in one line"),
        ("summary: s", r"own\.yaml:1: has no rules; a preset needs at least"),
        ("summary: s\nwhen: {a: b}", r"own\.yaml:2: when: no key named 'when'\. Did you mean 'where'"),
        ("summary: s\nwhere: {a b: c}", r"own\.yaml:2: where\.a b: a rule's name has letters, digits"),
        ("summary: s\nwhere: {a.b: c}", r"own\.yaml:2: where\.a\.b: a rule's name has letters, digits"),
        ("summary: s\nwhere: {a: ' '}", r"own\.yaml:2: where\.a: found nothing, expected SQL"),
        ("summary: s\nwhere: {a: b}\nremove: {a: c.d}", r"own\.yaml:3: remove\.a: `where` has a rule 'a' too"),
        (
            "summary: s\ntaggers: [t]\nwhere: {a: u_t.x > 1}",
            r"own\.yaml:2: taggers\.0: no rule reads 't'; leave it out",
        ),
        ("summary: s\nremove: {a: [1]}", r"own\.yaml:2: remove\.a\.0: found the number 1, expected text"),
    ],
)
def test_what_is_wrong_in_a_file(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        read_preset(written(tmp_path, text))


def test_files_and_names_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"none\.yaml: No such file or directory; a preset is a YAML file, give its path"
    ):
        read_preset(str(tmp_path / "none.yaml"))
    with pytest.raises(ConfigError, match=r"no preset named 'gofer'\. Did you mean 'gopher'\? Your own: a path"):
        read_preset("gofer")
    with pytest.raises(ConfigError, match=r"1st\.yaml: a preset is called like its file: letters, digits"):
        read_preset(written(tmp_path, OWN, "1st.yaml"))


def installed(monkeypatch: pytest.MonkeyPatch, folder: Path, package: str) -> None:
    """A distribution whose entry point names this package."""
    point = EntryPoint("theirs", package, presets.GROUP)
    monkeypatch.setattr(
        presets.importlib.metadata, "entry_points", lambda group: [point] if group == point.group else []
    )
    monkeypatch.syspath_prepend(str(folder))


def test_an_installed_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "their_rules").mkdir()
    (tmp_path / "their_rules" / "__init__.py").write_text("raise SystemExit('not imported')\n")
    written(tmp_path / "their_rules", OWN, "archive.yaml")
    installed(monkeypatch, tmp_path, "their_rules")
    assert {"archive", "gopher"} <= {*preset_names()}
    preset = read_preset("archive")
    assert preset.full("long") == "archive.long"
    assert preset.path == "their_rules/archive.yaml"


def test_installed_packages_that_cannot_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "clashing_rules").mkdir()
    installed(monkeypatch, tmp_path, "clashing_rules")
    with pytest.raises(UsageError, match=r"entry point 'theirs' .* the package 'clashing_rules' holds no NAME\.yaml"):
        preset_names()
    written(tmp_path / "clashing_rules", OWN, "gopher.yaml")
    with pytest.raises(UsageError, match=r"'gopher': pipelines/rules/gopher\.yaml and clashing_rules/gopher\.yaml"):
        preset_names()
    installed(monkeypatch, tmp_path, "nowhere_at_all.rules")
    with pytest.raises(UsageError, match=r"there is no package 'nowhere_at_all\.rules' that could hold presets"):
        preset_names()


@pytest.mark.parametrize(
    ("text", "there"),
    [
        ("len(pii.email) = 0", True),
        ("a > 1 AND pii .x", True),
        ("len(pii_v1.email)", False),
        ("x.pii = 1", False),
        ("happii.x", False),
        ("", False),
    ],
)
def test_names(text: str, there: bool) -> None:
    assert names(text, "pii") == there
