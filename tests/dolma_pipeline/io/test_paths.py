"""Finding files, saying what there is where nothing is found, and writing files that are never half there."""

from __future__ import annotations

import contextlib
import fnmatch
import hashlib
import os
from pathlib import Path

import pytest

from dolma_pipeline.errors import UsageError
from dolma_pipeline.io import paths
from dolma_pipeline.storage.inputs import open_stream
from tests.dolma_pipeline.storage.fake_web import web_serving


def find(patterns: list[str]) -> list[tuple[str, str]]:
    """Paths and bases; where a file lies below its base: test_located."""
    found = paths.find(patterns)
    assert all(one.path.endswith(one.relative) for one in found)
    return [(one.path, one.base) for one in found]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("data/a/1.jsonl", "data/a/2.jsonl.gz", "data/b/1.jsonl", "data/b/deep/3.jsonl", "data/.hidden.jsonl"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return tmp_path


def test_globs_give_files_in_order_with_the_folder_before_the_first_wildcard(here: Path) -> None:
    assert find(["data/**/*.jsonl*"]) == [
        ("data/a/1.jsonl", "data"),
        ("data/a/2.jsonl.gz", "data"),
        ("data/b/1.jsonl", "data"),
        ("data/b/deep/3.jsonl", "data"),
    ]
    assert find(["data/b/1.jsonl"]) == [("data/b/1.jsonl", "data/b")]
    assert find(["data/*/1.jsonl", "data/a/*"]) == [
        ("data/a/1.jsonl", "data"),
        ("data/b/1.jsonl", "data"),
        ("data/a/2.jsonl.gz", "data/a"),
    ]
    assert find(["data/.h*"]) == [("data/.hidden.jsonl", "data")]
    assert find([f"{here}/data/a/?.jsonl"]) == [(f"{here}/data/a/1.jsonl", f"{here}/data/a")]


def test_a_file_counts_once_however_it_is_written(here: Path) -> None:
    found = find(["data/a/*", "./data/a/1.jsonl", str(here / "data" / "a" / "2.jsonl.gz"), "data/b/../a/*"])
    assert [path for path, _ in found] == ["data/a/1.jsonl", "data/a/2.jsonl.gz"]


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("data/c/*.jsonl", "data/c/*.jsonl: no such file. In data/ there is: .hidden.jsonl, a, b."),
        ("data/a/3.jsonl.gz", "data/a/3.jsonl.gz: no such file. In data/a/ there is: 1.jsonl, 2.jsonl.gz."),
        ("data/a/*.parquet", "data/a/*.parquet: no such file. In data/a/ there is: 1.jsonl, 2.jsonl.gz."),
        ("dataa/*.jsonl", "dataa/*.jsonl: no such file. In ./ there is: data."),
        ("data/a/1.json", "data/a/1.json: no such file. In data/a/ there is: 1.jsonl, 2.jsonl.gz."),
        ("data/b/", "data/b/: no such file. data/b is a folder; give a pattern such as data/b/**/*.jsonl.gz."),
        ("data/b", "data/b: no such file. data/b is a folder; give a pattern such as data/b/**/*.jsonl.gz."),
        ("@list.txt", "@list.txt: no such file. In ./ there is: data."),
    ],
)
def test_what_matches_nothing_says_what_there_is(here: Path, pattern: str, words: str) -> None:
    with pytest.raises(UsageError) as error:
        find([pattern])
    assert str(error.value) == words


def test_an_empty_folder_has_nothing(here: Path) -> None:
    (here / "empty").mkdir()
    with pytest.raises(UsageError, match=r"^empty/\*: no such file. In empty/ there is: nothing\.$"):
        find(["empty/*"])
    with pytest.raises(UsageError, match=r"^/no/such/\*: no such file. In // there is: "):
        find(["/no/such/*"])


def test_a_list_of_files(here: Path) -> None:
    (here / "list.txt").write_text(
        "\ufeff# comment\n\n  data/b/1.jsonl  \r\ndata/a/1.jsonl\nftp://host/x.jsonl.gz\ndata/b/1.jsonl\n"
    )
    assert find(["@list.txt"]) == [
        ("data/b/1.jsonl", "data/b"),
        ("data/a/1.jsonl", "data/a"),
        ("ftp://host/x.jsonl.gz", "ftp://host"),
    ]
    (here / "list.txt").write_text("# one\n\ndata/a/1.jsonl\ndata/a/9.jsonl\n")
    with pytest.raises(
        UsageError, match=r"^@list\.txt:4: data/a/9\.jsonl: no such file\. In data/a/ there is: 1\.jsonl"
    ):
        find(["@list.txt"])
    (here / "list.txt").write_text("# nothing\n")
    with pytest.raises(UsageError, match=r"^@list\.txt: the list is empty\. Put one path on each line\.$"):
        find(["@list.txt"])
    (here / "list.txt").write_bytes(b"\xff\xfed\0")
    with pytest.raises(UsageError, match=r"^@list\.txt: the list is not valid UTF-8: "):
        find(["@list.txt"])


def touch(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(b"")


def test_a_path_that_exists_is_that_file_whatever_wildcards_are_in_its_name(here: Path) -> None:
    touch("odd/a[1].jsonl", "odd/a1.jsonl", "odd/*.jsonl", "odd/b?.jsonl", "odd/b1.jsonl", "odd/[!x].jsonl")
    for name in ("a[1].jsonl", "a1.jsonl", "*.jsonl", "b?.jsonl", "[!x].jsonl"):
        assert find([f"odd/{name}"]) == [(f"odd/{name}", "odd")]
        assert find([f"{here}/odd/{name}"]) == [(f"{here}/odd/{name}", f"{here}/odd")]
        Path("list.txt").write_text(f"odd/{name}\n")
        assert find(["@list.txt"]) == [(f"odd/{name}", "odd")]
    assert [path for path, _ in find(["odd/a[0-9].jsonl"])] == ["odd/a1.jsonl"]
    touch("a[2].jsonl")
    assert find(["a[2].jsonl"]) == [("a[2].jsonl", "")]


def test_a_folder_with_brackets_before_the_wildcard_is_that_folder(here: Path) -> None:
    touch("odd/[x]/1.jsonl", "odd/[x]/sub[2]/2.jsonl", "odd/x/3.jsonl", "odd/[y]z/4.jsonl")
    assert find(["odd/[x]/*.jsonl"]) == [("odd/[x]/1.jsonl", "odd/[x]")]
    assert find(["odd/[x]/**/*.jsonl"]) == [
        ("odd/[x]/1.jsonl", "odd/[x]"),
        ("odd/[x]/sub[2]/2.jsonl", "odd/[x]"),
    ]
    assert find(["odd/[x]/sub[2]/?.jsonl"]) == [("odd/[x]/sub[2]/2.jsonl", "odd/[x]/sub[2]")]
    assert find(["odd/[xy]/*.jsonl"]) == [("odd/x/3.jsonl", "odd")]
    assert [path for path, _ in find(["odd/*/*.jsonl"])] == [
        "odd/[x]/1.jsonl",
        "odd/[y]z/4.jsonl",
        "odd/x/3.jsonl",
    ]
    assert find([f"{here}/odd/[x]/*"]) == [(f"{here}/odd/[x]/1.jsonl", f"{here}/odd/[x]")]


def test_a_folder_called_like_a_wildcard_hides_no_other(here: Path) -> None:
    touch("odd/*/1.jsonl", "odd/b/2.jsonl")
    assert find(["odd/*/*.jsonl"]) == [("odd/*/1.jsonl", "odd"), ("odd/b/2.jsonl", "odd")]


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("odd/[x]/*.parquet", "odd/[x]/*.parquet: no such file. In odd/[x]/ there is: 1.jsonl."),
        ("odd/[x]", "odd/[x]: no such file. odd/[x] is a folder; give a pattern such as odd/[x]/**/*.jsonl.gz."),
        ("odd/[x]/1.json", "odd/[x]/1.json: no such file. In odd/[x]/ there is: 1.jsonl."),
        ("odd/[y]/*", "odd/[y]/*: no such file. In odd/ there is: [x]."),
    ],
)
def test_folders_with_brackets_are_looked_into_for_what_there_is(here: Path, pattern: str, words: str) -> None:
    touch("odd/[x]/1.jsonl")
    with pytest.raises(UsageError) as error:
        find([pattern])
    assert str(error.value) == words


@pytest.fixture
def home(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder with a file in it."""
    folder = here / "home" / "ann"
    touch(f"{folder}/docs/1.jsonl")
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("DATA", str(here / "data"))
    return folder


def test_a_tilde_is_a_home_folder_everywhere(here: Path, home: Path) -> None:
    one = (f"{home}/docs/1.jsonl", f"{home}/docs")
    assert find(["~/docs/1.jsonl"]) == find(["~/docs/*.jsonl"]) == [one]
    (home / "list.txt").write_text("~/docs/1.jsonl\n")
    assert find(["@~/list.txt"]) == [one]
    assert paths.expanded("~") == str(home)
    assert paths.expanded("~/new/run") == f"{home}/new/run"
    assert paths.expanded("a/~/b") == "a/~/b"
    assert paths.expanded("s3://~/$x") == "s3://~/$x"
    touch("~/docs/1.jsonl")  # what an unexpanded path once made; ./~ names it
    assert find(["~/docs/1.jsonl"]) == [one]
    assert find(["./~/docs/1.jsonl"]) == [("./~/docs/1.jsonl", "./~/docs")]
    assert paths.expanded("~root").startswith("/")


def test_an_unknown_home_is_refused(here: Path, home: Path) -> None:
    words = r"^~nobody-of-that-name/x\.jsonl: ~nobody-of-that-name is not a home folder, there is no user nobody"
    for call in (paths.expanded, lambda path: find([path])):
        with pytest.raises(UsageError, match=words):
            call("~nobody-of-that-name/x.jsonl")
    (here / "list.txt").write_text("\n~nobody-of-that-name/x.jsonl\n")
    with pytest.raises(UsageError, match=r"^@list\.txt:2: ~nobody-of-that-name/x\.jsonl: "):
        find(["@list.txt"])
    touch("~backup.jsonl")
    assert find(["~backup.jsonl"]) == [("~backup.jsonl", "")]


@pytest.mark.parametrize("path", ["$DATA/a/1.jsonl", "${DATA}/a/*.jsonl", "data/$NOT_SET/1.jsonl", "~/${DATA}.jsonl"])
def test_a_variable_is_refused_and_not_taken_for_a_name(home: Path, path: str) -> None:
    variable = next(name for name in ("${DATA}", "$DATA", "$NOT_SET") if name in path)
    words = (
        f"{path}: {variable} is not replaced in a recipe, and no file is called so. Write the path itself, or give "
        "this key on the command line, where the shell replaces it."
    )
    for call in (paths.expanded, lambda path: find([path])):
        with pytest.raises(UsageError) as error:
            call(path)
        assert str(error.value) == words
    Path("list.txt").write_text(f"data/a/1.jsonl\n{path}\n")
    with pytest.raises(UsageError) as error:
        find(["@list.txt"])
    assert str(error.value) == f"@list.txt:2: {words}"


def test_a_file_that_is_called_like_a_variable_is_that_file(home: Path) -> None:
    touch("data/$DATA/1.jsonl", "data/${x}.jsonl", "$DATA")
    assert find(["data/$DATA/1.jsonl"]) == [("data/$DATA/1.jsonl", "data/$DATA")]
    assert find(["data/$DATA/*.jsonl"]) == [("data/$DATA/1.jsonl", "data/$DATA")]
    assert find(["data/${x}.jsonl"]) == [("data/${x}.jsonl", "data")]
    assert paths.expanded("$DATA") == "$DATA"
    with pytest.raises(UsageError, match=r"^data/price\$5\.jsonl: no such file\. In data/"):
        find(["data/price$5.jsonl"])


def test_the_query_of_an_address_is_no_wildcard() -> None:
    with web_serving() as server:
        server.files["/b.jsonl"] = b"{}"
        assert find([f"{server.url}/b.jsonl?download=true"]) == [(f"{server.url}/b.jsonl?download=true", server.url)]
    words = r"^https://host/\*\.jsonl\?download=true: files cannot be listed at https://, so there are no globs"
    with pytest.raises(UsageError, match=words):
        find(["https://host/*.jsonl?download=true"])


def test_a_scheme_that_nothing_reads_is_told_with_those_that_are() -> None:
    with pytest.raises(UsageError, match=r"^s4://b/x: nothing here reads s4://\. There are: az, .*hf, .*s3, "):
        find(["s4://b/x"])


def test_a_url_is_read_as_stored(here: Path) -> None:
    (here / "x.gz").write_bytes(b"\x1f\x8bnot unpacked")
    url = (here / "x.gz").as_uri()
    with open_stream(url) as file:
        assert file.read() == b"\x1f\x8bnot unpacked"


def test_a_name_that_is_no_utf8_is_refused(here: Path) -> None:
    name = os.fsencode(here) + b"/data/bad\xff.jsonl"
    try:
        with open(name, "wb"):
            pass
    except OSError:
        pytest.skip("this file system takes no such names")
    with pytest.raises(
        UsageError, match=r"^'data/bad\\udcff\.jsonl': the name of this file is not valid UTF-8\. Rename it\.$"
    ):
        find(["data/*.jsonl"])


def test_a_file_is_there_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "f.bin"
    with paths.committing(path) as file:
        file.write(b"first")
        assert not path.exists()
    assert path.read_bytes() == b"first"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), OSError(28, "no space")])
def test_an_exception_leaves_the_old_file_and_nothing_else(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "f.bin"
    paths.write_bytes(path, b"old")
    with pytest.raises(type(error)), paths.committing(path) as file:
        file.write(b"half of the n")
        raise error
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
    paths.write_bytes(path, b"new")
    assert path.read_bytes() == b"new"
    assert paths.sha256_file(path) == hashlib.sha256(b"new").hexdigest()


def test_two_copies_of_a_task_do_not_write_into_each_other(tmp_path: Path) -> None:
    """Both are open at once; the one that ends first, and the one that dies, leave the other's bytes alone."""
    path = tmp_path / "f.bin"
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(paths.committing(path))
        first.write(b"one")
        with pytest.raises(ValueError, match="died"), paths.committing(path) as second:
            second.write(b"second, which is longer")
            second.flush()
            raise ValueError("died")
        with paths.committing(path) as third:
            third.write(b"three")
        assert path.read_bytes() == b"three"
        first.write(b" more")
        first.flush()
        assert path.read_bytes() == b"three"
    assert path.read_bytes() == b"one more"
    assert list(tmp_path.iterdir()) == [path]


def test_a_name_as_long_as_the_file_system_allows_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 255)
    paths.write_bytes(path, b"x")
    assert path.read_bytes() == b"x"


def test_of_many_who_create_a_file_one_wins_and_all_read_the_same(tmp_path: Path) -> None:
    path = tmp_path / "new" / "f.bin"
    assert paths.create(path, b"first")
    assert not paths.create(path, b"second")
    assert path.read_bytes() == b"first"
    assert list(path.parent.iterdir()) == [path]


def test_what_dead_attempts_left_is_found_and_nothing_else(tmp_path: Path) -> None:
    paths.write_bytes(tmp_path / "a" / "b.tmp", b"the user's")
    paths.write_bytes(tmp_path / ".hidden", b"the user's too")
    killed = paths.committing(tmp_path / "a" / "deep" / "f.bin")
    killed.__enter__().flush()
    (left,) = paths.unfinished(tmp_path)
    assert left.parent == tmp_path / "a" / "deep"
    assert left.name.endswith(".tmp")
    assert not fnmatch.fnmatch(left.name, "*.bin")
    killed.__exit__(ValueError, ValueError(), None)
    assert list(paths.unfinished(tmp_path)) == []
    assert list(paths.unfinished(tmp_path / "nowhere")) == []
