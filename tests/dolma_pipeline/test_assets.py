"""Fetching, checking and finding assets; every source here is a local file, so nothing needs a network."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from dolma_pipeline import assets
from dolma_pipeline.assets import Asset, Wheel
from dolma_pipeline.errors import AssetError, UnknownNameError

CONTENT = b"a word list\n"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def an_asset(*sources: str | Wheel) -> Asset:
    return Asset("words.txt", "words.txt", SHA256, len(CONTENT), "CC0-1.0", "words", sources)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, no run folder, and one asset whose only source is a local file."""
    (tmp_path / "origin").mkdir()
    (tmp_path / "origin" / "words.txt").write_bytes(CONTENT)
    monkeypatch.setenv(assets.CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.delenv(assets.FOLDER_VARIABLE, raising=False)
    use(monkeypatch, (tmp_path / "origin" / "words.txt").as_uri())
    return tmp_path / "cache"


def use(monkeypatch: pytest.MonkeyPatch, *sources: str | Wheel) -> None:
    monkeypatch.setattr(assets, "ASSETS", {"words.txt": an_asset(*sources)})


def test_fetch_puts_the_file_under_its_hash_and_says_so(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = assets.fetch("words.txt")
    assert path == cache / SHA256 / "words.txt"
    assert path.read_bytes() == CONTENT
    assert [p.name for p in path.parent.iterdir()] == ["words.txt"], "no temporary file stays behind"
    out, err = capsys.readouterr()
    assert out == ""
    assert "fetching words.txt (12 bytes) from file://" in err


def test_fetch_again_needs_no_source(cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    first = assets.fetch("words.txt")
    use(monkeypatch)
    capsys.readouterr()
    assert assets.fetch("words.txt") == first
    assert capsys.readouterr().err == ""


def test_fetch_replaces_a_damaged_cache_entry(cache: Path) -> None:
    path = assets.fetch("words.txt")
    path.write_bytes(b"broken")
    assert assets.fetch("words.txt").read_bytes() == CONTENT


def test_fetch_takes_a_given_file(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch)
    mine = tmp_path / "mine"
    mine.write_bytes(CONTENT)
    assert assets.fetch("words.txt", path=mine) == cache / SHA256 / "words.txt"


def test_fetch_takes_the_file_that_the_environment_names(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch)
    mine = tmp_path / "mine"
    mine.write_bytes(CONTENT)
    assert assets.path_variable("lid.176.ftz") == "DOLMA_PIPELINE_LID_176_FTZ"
    monkeypatch.setenv("DOLMA_PIPELINE_WORDS_TXT", str(mine))
    assert assets.fetch("words.txt").read_bytes() == CONTENT


def test_a_given_file_with_another_hash_is_refused_with_both_hashes(cache: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.write_bytes(b"something else")
    found = hashlib.sha256(b"something else").hexdigest()
    with pytest.raises(AssetError) as caught:
        assets.fetch("words.txt", path=mine)
    message = str(caught.value)
    assert f"expected sha256 {SHA256} (12 bytes)" in message
    assert f"found {found} (14 bytes)" in message
    assert str(mine) in message
    with pytest.raises(AssetError, match="cannot be read: No such file"):
        assets.fetch("words.txt", path=tmp_path / "absent")


def test_a_source_with_another_hash_is_passed_over(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_bytes(b"changed upstream")
    use(monkeypatch, wrong.as_uri(), (tmp_path / "origin" / "words.txt").as_uri())
    assert assets.fetch("words.txt").read_bytes() == CONTENT


def test_offline_is_one_error_that_lists_what_was_tried(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    wrong = tmp_path / "wrong"
    wrong.write_bytes(b"changed upstream")
    use(
        monkeypatch,
        Wheel("no-such-package-here==1.0", "a/words.txt"),
        "http://127.0.0.1:9/words.txt",
        wrong.as_uri(),
    )
    with pytest.raises(AssetError) as caught:
        assets.fetch("words.txt")
    message = str(caught.value)
    assert message.startswith("the asset 'words.txt' cannot be had. Tried:\n")
    assert "a/words.txt in the wheel no-such-package-here==1.0: pip download failed: ERROR:" in message
    assert "http://127.0.0.1:9/words.txt: " in message
    assert f"expected sha256 {SHA256}" in message
    assert "DOLMA_PIPELINE_WORDS_TXT=PATH dolma-pipeline fetch words.txt" in message
    assert not list(cache.rglob("*.txt"))


@pytest.mark.parametrize("member", ["pkg/words.txt", "pkg/other.txt"])
def test_a_wheel_is_downloaded_and_unzipped(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, member: str
) -> None:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    with zipfile.ZipFile(wheels / "pkg-1.0-py3-none-any.whl", "w") as archive:
        archive.writestr("pkg/words.txt", CONTENT)
        archive.writestr("pkg-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: pkg\nVersion: 1.0\n")
        archive.writestr("pkg-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr("pkg-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    use(monkeypatch, Wheel("pkg==1.0", member))
    if member == "pkg/words.txt":
        assert assets.fetch("words.txt").read_bytes() == CONTENT
    else:
        with pytest.raises(AssetError, match=r"the wheel does not hold pkg/other\.txt"):
            assets.fetch("words.txt")


def test_asset_reads_the_cache_and_never_fetches(cache: Path) -> None:
    with pytest.raises(AssetError, match=r"not in the cache \(.*\)\. Run: dolma-pipeline fetch words\.txt$"):
        assets.asset("words.txt")
    path = assets.fetch("words.txt")
    assert assets.asset("words.txt") == path
    path.write_bytes(b"broken")
    with pytest.raises(AssetError, match=r"is not the asset 'words\.txt': expected sha256"):
        assets.asset("words.txt")


def test_a_run_folder_ends_the_search(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assets.fetch("words.txt")
    run = tmp_path / "run" / "assets"
    with pytest.raises(AssetError, match="not in the run's assets"):
        assets.asset("words.txt", folder=run)
    assert assets.copy_to(["words.txt", "words.txt"], run) == [run / SHA256 / "words.txt"]
    assert assets.asset("words.txt", folder=run).read_bytes() == CONTENT
    monkeypatch.setenv(assets.FOLDER_VARIABLE, "")  # restored afterwards
    assets.use_folder(run)
    assert os.environ[assets.FOLDER_VARIABLE] == str(run)
    assert assets.asset("words.txt") == run / SHA256 / "words.txt"


def test_copy_to_fetches_what_is_missing_and_mends_what_is_damaged(cache: Path, tmp_path: Path) -> None:
    run = tmp_path / "assets"
    (path,) = assets.copy_to(["words.txt"], run)
    assert assets.asset("words.txt").read_bytes() == CONTENT, "it is in the cache too"
    path.write_bytes(b"broken")
    assets.copy_to(["words.txt"], run)
    assert path.read_bytes() == CONTENT
    before = path.stat().st_mtime_ns
    assets.copy_to(["words.txt"], run)
    assert path.stat().st_mtime_ns == before, "what is right is left alone"


def test_an_unknown_asset_is_named_with_those_near_it() -> None:
    for ask in (assets.fetch, assets.asset, lambda name: assets.copy_to([name], "nowhere")):
        with pytest.raises(UnknownNameError, match=r"no asset named 'lid\.167\.ftz'\. Did you mean 'lid\.176\.ftz'\?"):
            ask("lid.167.ftz")


def test_the_table_is_whole() -> None:
    for name, one in assets.ASSETS.items():
        assert one.name == name
        assert len(one.sha256) == 64
        assert one.num_bytes > 0
        assert one.licence
        assert one.purpose
        assert one.sources


def test_every_asset_stands_in_the_licences() -> None:
    text = (Path(__file__).parents[2] / "docs" / "licences.md").read_text()
    for one in assets.ASSETS.values():
        for part in (one.name, one.sha256, one.licence, f"{one.num_bytes:,}"):
            assert part in text


def test_import_reaches_for_nothing() -> None:
    code = (
        "import sys, socket\n"
        "def refuse(*a, **k): raise SystemExit('network')\n"
        "socket.socket.connect = refuse\n"
        "import dolma_pipeline.assets\n"
        "print([m for m in ('numba', 'apache_beam', 'torch', 'presidio_analyzer') if m in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_folder_is_used_until_the_block_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for before in (None, "elsewhere"):
        if before is None:
            monkeypatch.delenv(assets.FOLDER_VARIABLE, raising=False)
        else:
            monkeypatch.setenv(assets.FOLDER_VARIABLE, before)
        with assets.folder_restored():
            assets.use_folder(tmp_path)
            assert os.environ[assets.FOLDER_VARIABLE] == str(tmp_path)
        assert os.environ.get(assets.FOLDER_VARIABLE) == before
