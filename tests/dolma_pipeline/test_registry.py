from __future__ import annotations

import hashlib
import importlib.metadata
import pickle
import subprocess
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest

from dolma_pipeline import registry
from dolma_pipeline.documents import Batch
from dolma_pipeline.errors import TaggerError, UnknownNameError, UsageError
from dolma_pipeline.mixing import MIXERS, Available
from dolma_pipeline.registry import UserModule, install_modules, load_mixer, load_tagger, read_modules
from dolma_pipeline.tagging import DECLARED

SHOUTING = '''\
from __future__ import annotations
from dataclasses import dataclass
from dolma_pipeline.tagging import tagger

@tagger("cries_v1", fields={"share": float})
def cries(doc, *, least: int = 2):
    """Words written in capitals."""
    return {"share": float(sum(len(w) >= least and w.isupper() for w in doc.text.split()))}

@tagger("size_v1")
@dataclass
class Size:
    factor: int = 1
    fields = {"n": int}

    def tag(self, batch):
        return {"n": [self.factor * len(t) for t in batch.strings]}
'''


WEB = Available(unit="tokens", documents=1, tokens=10)


@pytest.fixture(autouse=True)
def own_tables() -> Iterator[None]:
    """Taggers, mixers and modules that a test brings in are gone after it."""
    registry.tagger_specs(), registry.mixer_names()
    before = dict(DECLARED), dict(MIXERS), dict(registry._installed)
    yield
    for name in [*registry._installed]:
        registry._forget(name)
    for table, old in zip((DECLARED, MIXERS, registry._installed), before, strict=True):
        table.clear()
        table.update(old)  # type: ignore[arg-type]
    registry._load_all.cache_clear()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_taggers.py").write_text(SHOUTING)
    return tmp_path


def python(code: str, *, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    home = Path(registry.__file__).parents[1]
    environment = {"PYTHONPATH": str(home), "PYTHONHASHSEED": "0"}
    return subprocess.run(
        [sys.executable, "-c", code], cwd=cwd or home, env=environment, capture_output=True, text=True, check=False
    )


def test_an_unknown_tagger_names_the_near_one(folder: Path) -> None:
    install_modules(read_modules(["./my_taggers.py"]))
    with pytest.raises(
        UnknownNameError, match=r"^no tagger named 'cires_v1'\. Did you mean 'cries_v1'.*\? Your own: `modules: "
    ):
        load_tagger("cires_v1")
    with pytest.raises(
        UnknownNameError, match=r"no parameter of tagger 'cries_v1' named 'leest'\. Did you mean 'least'"
    ):
        load_tagger("cries_v1", leest=3)
    with pytest.raises(TaggerError, match=r"tagger 'cries_v1': parameter 'least' is int \(default 2\), not str '3'"):
        load_tagger("cries_v1", least="3")


def test_a_file_gives_functions_and_classes(folder: Path) -> None:
    modules = read_modules(["./my_taggers.py"])
    assert modules == (UserModule("file", "my_taggers.py", SHOUTING, hashlib.sha256(SHOUTING.encode()).hexdigest()),)
    assert "cries_v1" not in DECLARED  # reading runs nothing
    install_modules(modules)
    assert load_tagger("cries_v1", least=3)("HEY you A AB") == {"share": 1.0}
    assert load_tagger("size_v1", factor=2).attributes(Batch.of(["abc"]))[0].to_pylist() == [{"n": 6}]
    assert load_tagger("cries_v1").spec.summary == "Words written in capitals."
    names = [spec.name for spec in registry.tagger_specs()]
    assert {"cries_v1", "size_v1"} <= set(names)
    assert names == sorted(names)


def test_a_file_travels_as_text_to_a_process_without_it(folder: Path, tmp_path: Path) -> None:
    sent = pickle.dumps(read_modules(["./my_taggers.py"], base=folder))
    (folder / "my_taggers.py").unlink()
    done = python(
        f"import pickle\nfrom dolma_pipeline.registry import install_modules, load_tagger\n"
        f"install_modules(pickle.loads({sent!r}))\n"
        "print(load_tagger('size_v1')('four'), load_tagger('cries_v1')('AB'))",
        cwd=folder,
    )
    assert done.stdout == "{'n': 4} {'share': 1.0}\n", done.stderr


def test_a_file_is_a_module_of_its_own(folder: Path) -> None:
    (folder / "json.py").write_text("from dolma_pipeline.tagging import tagger\n")
    import json

    install_modules(read_modules(["json.py"]))
    assert sys.modules["json"] is json
    name = registry._installed["json.py"]
    module = sys.modules[name]
    assert (module.__name__, module.__file__) == (name, "json.py")
    assert name.startswith("dolma_pipeline_file_json_")


def test_installing_again_does_nothing_and_a_changed_file_replaces_its_taggers(folder: Path) -> None:
    install_modules(read_modules(["./my_taggers.py"]))
    first = DECLARED["cries_v1"]
    install_modules(read_modules(["my_taggers.py"]))  # the same file, written otherwise
    assert DECLARED["cries_v1"] is first
    (folder / "my_taggers.py").write_text(SHOUTING.replace("size_v1", "extent_v1"))
    install_modules(read_modules(["./my_taggers.py"]))
    assert DECLARED["cries_v1"] is not first
    assert "extent_v1" in DECLARED
    assert "size_v1" not in DECLARED
    assert sum(name.startswith("dolma_pipeline_file_my_taggers_") for name in sys.modules) == 1


@pytest.mark.parametrize("first", ["import", "install"])
def test_a_file_that_is_imported_too_is_the_same_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    monkeypatch.syspath_prepend(folder)
    modules = read_modules(["./my_taggers.py"])
    if first == "install":
        install_modules(modules)
    importlib.import_module("my_taggers")
    del sys.modules["my_taggers"]
    assert DECLARED["cries_v1"].module == "my_taggers"
    if first == "import":
        install_modules(modules)
        assert DECLARED["cries_v1"].module.startswith("dolma_pipeline_file_my_taggers_")
    assert load_tagger("cries_v1")("HEY") == {"share": 1.0}
    assert load_tagger("size_v1")("HEY") == {"n": 3}


def test_a_copy_of_a_file_is_the_same_file(folder: Path) -> None:
    (folder / "copy.py").write_text(SHOUTING)
    install_modules(read_modules(["my_taggers.py", "copy.py"]))
    assert DECLARED["cries_v1"].place == "copy.py:5"


def test_base_is_where_relative_paths_start(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("other")
    (other / "mine.py").write_text("x = 1\n")
    (module,) = read_modules(["./mine.py"], base=other)
    assert (module.name, module.text) == ("mine.py", "x = 1\n")
    with pytest.raises(UsageError, match=r"^no file \./mine\.py \(modules\), looked for at .*mine\.py$"):
        read_modules(["./mine.py"])


def test_tracebacks_show_the_lines_of_a_file_that_is_not_there(folder: Path) -> None:
    text = "from dolma_pipeline.tagging import tagger\n\n@tagger('div_v1', fields={'x': float})\ndef div(doc):\n"
    (folder / "div.py").write_text(text + "    return {'x': 1 / len(doc.text)}  # the line\n")
    modules = read_modules(["div.py"])
    (folder / "div.py").unlink()
    install_modules(modules)
    try:
        load_tagger("div_v1")("")
    except ZeroDivisionError:
        shown = traceback.format_exc()
    assert 'File "div.py", line 5, in div' in shown
    assert "return {'x': 1 / len(doc.text)}  # the line" in shown


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("def broken(:\n", TaggerError, "bad.py:1: invalid syntax"),
        (
            "\nimport not_there_at_all\n",
            TaggerError,
            "bad.py:5: bad.py needs the module 'not_there_at_all', which is not installed",
        ),
        ("from dolma_pipeline.tagging import tagger\ntagger('A')\n", TaggerError, "bad.py:5: a tagger cannot be named"),
        ("1 / 0\n", TaggerError, "bad.py:4: ZeroDivisionError: division by zero"),
        ("import json\njson.loads('{')\n", TaggerError, "bad.py:5: JSONDecodeError: Expecting property name"),
        ("raise KeyError\n", TaggerError, "bad.py:4: KeyError"),
    ],
)
def test_a_file_that_does_not_run_leaves_nothing(folder: Path, text: str, error: type[Exception], words: str) -> None:
    good = (
        "from dolma_pipeline.tagging import tagger\n@tagger('half_v1', fields={'x': int})\ndef half(doc): return {}\n"
    )
    (folder / "bad.py").write_text(text if "def broken" in text else good + text)
    with pytest.raises(error) as caught:
        install_modules(read_modules(["bad.py"]))
    assert words in str(caught.value)
    assert "half_v1" not in DECLARED
    assert "bad.py" not in registry._installed
    assert not any(name.startswith("dolma_pipeline_file_bad_") for name in sys.modules)


def test_a_file_that_is_not_utf8_is_refused(folder: Path) -> None:
    (folder / "latin.py").write_bytes("x = 'é'".encode("latin-1"))
    with pytest.raises(UsageError, match=r"^latin\.py \(modules\) is not UTF-8: "):
        read_modules(["latin.py"])


def test_an_importable_module_travels_by_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "my_package").mkdir()
    (folder / "my_package" / "__init__.py").write_text("")
    (folder / "my_package" / "quality.py").write_text(SHOUTING.replace("cries_v1", "calls_v1").replace("size_", "sz_"))
    monkeypatch.syspath_prepend(folder)
    (module,) = read_modules(["my_package.quality"])
    source = (folder / "my_package" / "quality.py").read_bytes()
    assert module == UserModule("import", "my_package.quality", "", hashlib.sha256(source).hexdigest())
    install_modules([module, module])
    assert load_tagger("calls_v1").spec.module == "my_package.quality"
    for name in ("my_package", "my_package.quality"):
        monkeypatch.delitem(sys.modules, name)


def test_modules_that_cannot_be_imported_are_refused(folder: Path) -> None:
    with pytest.raises(UsageError, match=r"no module named 'nowhere\.at\.all' \(modules\) can be imported\.$"):
        read_modules(["nowhere.at.all"])
    with pytest.raises(
        UsageError, match=r"can be imported\. There is a file my_taggers\.py: write \./my_taggers\.py\.$"
    ):
        read_modules(["my_taggers"])
    with pytest.raises(UsageError, match=r"'my-taggers' .* is neither a module's name nor a path that ends in \.py"):
        read_modules(["my-taggers"])
    with pytest.raises(TaggerError, match=r"module 'nowhere\.at' \(modules\) cannot be imported: No module named"):
        install_modules([UserModule("import", "nowhere.at", "", "")])


def test_an_importable_module_that_raises_is_told_with_its_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text, words in (
        ("raises", "x = 1\ny = [][x]\n", r"raises\.py:2: IndexError: list index out of range"),
        ("unread", "x = 1\n\ny = (\n", r"unread\.py:3: SyntaxError: '\(' was never closed"),
        ("leaves", "import sys\nsys.exit(5)\n", r"leaves\.py:2: SystemExit: 5"),
    ):
        (folder / f"{name}.py").write_text(text)
        monkeypatch.syspath_prepend(folder)
        with pytest.raises(TaggerError, match=rf"module '{name}' \(modules\) cannot be imported: .*{words}"):
            install_modules(read_modules([name]))
        if name != "unread":  # a file that does not parse has its own sentence
            with pytest.raises(TaggerError, match=words):
                install_modules(read_modules([f"{name}.py"]))


def test_where_a_tagger_comes_from(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_modules(read_modules(["my_taggers.py"]))
    (folder / "by_name.py").write_text(SHOUTING.replace("cries_v1", "named_v1").replace("size_v1", "named_size_v1"))
    (folder / "theirs.py").write_text(SHOUTING.replace("cries_v1", "theirs_v1").replace("size_v1", "their_size_v1"))
    entry_point(folder, monkeypatch, "dolma_pipeline.taggers", "theirs", "theirs")
    install_modules(read_modules(["by_name"]), keep=True)
    expected = {"cries_v1": "my_taggers.py", "named_v1": "module by_name", "theirs_v1": "their-dist 1.0"}
    for name, origin in {**expected, "length_v1": "built-in"}.items():
        assert registry.origin_of(load_tagger(name).spec) == origin
    for name in ("by_name", "theirs"):
        monkeypatch.delitem(sys.modules, name)


def test_a_file_cannot_take_the_name_of_another_tagger(folder: Path) -> None:
    (folder / "other.py").write_text(f"{SHOUTING}# another text\n")
    with pytest.raises(
        TaggerError, match=r"'cries_v1' is declared twice: cries at my_taggers\.py:5 and cries at other\.py"
    ):
        install_modules(read_modules(["my_taggers.py", "other.py"]))
    assert load_tagger("cries_v1").spec.place == "my_taggers.py:5"


def entry_point(folder: Path, monkeypatch: pytest.MonkeyPatch, group: str, name: str, module: str) -> None:
    """An installed distribution `their-dist` with one entry point."""
    info = folder / "their_dist-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-dist\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{group}]\n{name} = {module}\n")
    monkeypatch.syspath_prepend(folder)
    registry._load_all.cache_clear()
    assert importlib.metadata.version("their-dist") == "1.0"


def test_installed_distributions_offer_taggers(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "their_taggers.py").write_text(
        SHOUTING.replace("cries_v1", "theirs_v1").replace("size_v1", "their_size_v1")
    )
    entry_point(folder, monkeypatch, "dolma_pipeline.taggers", "theirs", "their_taggers")
    assert load_tagger("theirs_v1")("AB") == {"share": 1.0}
    monkeypatch.delitem(sys.modules, "their_taggers")


def test_a_broken_distribution_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry_point(folder, monkeypatch, "dolma_pipeline.taggers", "theirs", "not_there_either")
    with pytest.raises(
        TaggerError, match=r"'not_there_either' \(entry point 'theirs' of their-dist\) cannot be imported"
    ):
        registry.tagger_specs()


def test_installed_distributions_offer_mixers(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "their_mixers.py").write_text(
        "from dolma_pipeline.mixing import mixer\n\n"
        "@mixer('least')\ndef least(sources, target, *, tokens: int = 1):\n"
        "    return {name: tokens for name in sources}\n"
    )
    entry_point(folder, monkeypatch, "dolma_pipeline.mixers", "theirs", "their_mixers")
    assert load_mixer("least", tokens=3)({"web": WEB}, 5) == {"web": 3}
    monkeypatch.delitem(sys.modules, "their_mixers")


MIXER = """from dolma_pipeline.mixing import mixer

@mixer("all_of_it")
def all_of_it(sources, target):
    return {name: one.size for name, one in sources.items()}
"""


def test_a_file_brings_mixers_too(folder: Path) -> None:
    (folder / "my_mixers.py").write_text(MIXER)
    modules = read_modules(["./my_mixers.py"])
    install_modules(modules)
    assert load_mixer("all_of_it")({"web": WEB}, 5) == {"web": 10}
    assert registry.declared_by(registry.mixer_spec("all_of_it").module, modules) == modules[0]
    assert registry.declared_by(registry.mixer_spec("proportional").module, modules) is None
    (folder / "my_mixers.py").write_text(MIXER.replace("all_of_it", "everything"))
    install_modules(read_modules(["./my_mixers.py"]))  # what it declared before is forgotten
    with pytest.raises(UnknownNameError, match=r"^no mixer named 'all_of_it'\."):
        load_mixer("all_of_it")


def test_a_mixers_file_may_be_imported_too(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "my_mixers.py").write_text(MIXER)
    monkeypatch.syspath_prepend(folder)
    importlib.import_module("my_mixers")
    install_modules(read_modules(["./my_mixers.py"]))
    assert load_mixer("all_of_it")({"web": WEB}, 5) == {"web": 10}
    monkeypatch.delitem(sys.modules, "my_mixers")


def test_a_file_cannot_take_the_name_of_a_built_in_mixer(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(MIXER.replace("all_of_it", "proportional"))
    done = python(  # a process that has not looked for mixers yet
        "from pathlib import Path\nfrom dolma_pipeline.registry import install_modules, read_modules\n"
        f"install_modules(read_modules(['mine.py'], base=Path({str(tmp_path)!r})))"
    )
    assert (
        "UsageError: mixer 'proportional' is declared twice: in mixers.proportional and in mine.py:3; give one of the "
        "two another name" in done.stderr.replace(f"{tmp_path}/", "")
    )


def test_an_importable_module_declares_what_is_in_it() -> None:
    mine = UserModule("import", "my_package.quality", "", "")
    assert registry.declared_by("my_package.quality", [mine]) == mine
    assert registry.declared_by("my_package.quality.inner", [mine]) == mine
    assert registry.declared_by("my_package.quality2", [mine]) is None


def test_mixers_are_found_by_name() -> None:
    assert "proportional" in registry.mixer_names()
    assert load_mixer("proportional")({"web": WEB}, 5) == {"web": 5}
    with pytest.raises(UnknownNameError, match=r"^no mixer named 'proportinal'\. Did you mean 'proportional'\? Your"):
        load_mixer("proportinal")
    with pytest.raises(UnknownNameError, match=r"no parameter of mixer 'proportional' named 't'\. There are none\."):
        load_mixer("proportional", t=0.5)


@pytest.mark.parametrize("package", ["taggers", "mixers"])
def test_a_foreign_package_of_that_name_is_refused(tmp_path: Path, package: str) -> None:
    for foreign in (tmp_path / package / "__init__.py", tmp_path / f"{package}.py"):
        foreign.parent.mkdir(exist_ok=True)
        foreign.write_text("raise RuntimeError('must not run')\n")
        ask = "tagger_specs" if package == "taggers" else "mixer_names"
        done = python(
            f"import sys\nsys.path.insert(0, {str(tmp_path)!r})\nfrom dolma_pipeline import registry\nregistry.{ask}()"
        )
        place = foreign if foreign.stem == package else foreign.parent
        assert (
            f"UsageError: the package '{package}' is found at {place}, but dolma_pipeline's own is at " in done.stderr
        )
        assert "rename it, or start from another folder" in done.stderr
        foreign.unlink()
        if foreign.stem == "__init__":
            foreign.parent.rmdir()


def test_finding_names_loads_nothing_heavy() -> None:
    done = python(
        "import sys\nfrom dolma_pipeline import registry\nregistry.tagger_specs(), registry.mixer_names()\n"
        "heavy = ('numba', 'apache_beam', 'torch', 'duckdb', 'presidio_analyzer', 'fasttext')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    assert done.stdout == "[]\n", done.stderr
