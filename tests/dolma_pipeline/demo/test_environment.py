from __future__ import annotations

from platform import python_version
from typing import Any

from dolma_pipeline.demo.environment import InstalledPackage, Package, installed_packages, standard_library


def by_name() -> dict[str, InstalledPackage]:
    return {installed.package.name: installed for installed in installed_packages()}


def test_the_standard_library_comes_first_without_caches_and_what_is_installed_below_it(installation: Any) -> None:
    for path in ("json/decoder.py", "abc.py", "__pycache__/abc.pyc", "site-packages/other.py", "dist-packages/o.py"):
        file = installation.stdlib / path
        file.parent.mkdir(exist_ok=True)
        file.write_text("x = 1\n")
    first = next(iter(installed_packages()))
    assert first.package == Package("python", python_version(), "https://www.python.org/", "PSF-2.0")
    assert [file.path for file in first.files] == ["abc.py", "json/decoder.py"]
    assert [file.name for file in first.files] == ["python/abc.py", "python/json/decoder.py"]


def test_packages_come_sorted_by_their_normalised_names(installation: Any) -> None:
    for name in ("Zeta", "alpha.one", "Beta_two"):
        installation.add(name, {})
    assert [i.package.name for i in installed_packages()] == ["python", "alpha-one", "beta-two", "zeta"]


def test_this_toolkit_and_editable_installs_are_left_out(installation: Any) -> None:
    installation.add("dolma_pipeline", {"dolma_pipeline/a.py": "x = 1\n"})
    installation.add("edited", {"edited.py": "x = 1\n"}, direct='{"url": "file:///x", "dir_info": {"editable": true}}')
    installation.add("built", {"built.py": "x = 1\n"}, direct='{"url": "file:///x", "dir_info": {}}')
    assert sorted(by_name()) == ["built", "python"]


def test_files_outside_the_library_folder_are_not_named(installation: Any) -> None:
    installation.add("tool", {"tool.py": "x = 1\n", "../bin/tool.py": "x = 1\n"})
    assert [f.path for f in by_name()["tool"].files if f.path.endswith(".py")] == ["tool.py"]


def test_a_file_that_two_packages_claim_belongs_to_the_first(installation: Any) -> None:
    installation.add("a", {"shared.py": "x = 1\n"})
    installation.add("b", {"shared.py": "x = 1\n", "b.py": "x = 1\n"})
    found = by_name()
    assert "shared.py" in [f.path for f in found["a"].files]
    assert [f.path for f in found["b"].files if f.path.endswith(".py")] == ["b.py"]


def test_links_and_missing_files_are_not_plain(installation: Any) -> None:
    installation.add("p", {"p/real.py": "x = 1\n", "p/gone.py": "x"})
    (installation.site / "p/gone.py").unlink()
    (installation.site / "secret.txt").write_text("outside")
    (installation.site / "p/link.py").symlink_to(installation.site / "secret.txt")
    (installation.site / "linked").symlink_to(installation.site / "p")
    installation.add("q", {"p/link.py": "x", "linked/other.py": "x = 2\n"})
    plain = {f.path: f.is_plain() for i in by_name().values() for f in i.files if f.path.endswith(".py")}
    assert plain.pop("p/gone.py", False) is False  # some versions of importlib.metadata do not list what is gone
    assert plain == {"p/real.py": True, "p/link.py": False, "linked/other.py": False}


def test_text_that_is_not_utf8_reads_as_none_and_a_byte_order_mark_is_dropped(installation: Any) -> None:
    installation.add("p", {"latin.py": b"# caf\xe9\n", "bom.py": b"\xef\xbb\xbfx = 1\r\n"})
    texts = {f.path: f.read() for f in by_name()["p"].files}
    assert texts["latin.py"] is None
    assert texts["bom.py"] == "x = 1\r\n"


def test_the_licence_is_the_expression_then_the_classifiers_then_short_words(installation: Any) -> None:
    classifiers = (
        "Classifier: License :: OSI Approved :: MIT License\nClassifier: License :: OSI Approved :: BSD License\n"
    )
    installation.add("a", {}, metadata=f"License-Expression: MIT OR Apache-2.0\n{classifiers}")
    installation.add("b", {}, metadata=f"License: see below\n{classifiers}")
    installation.add("c", {}, metadata="License: MIT\n")
    installation.add("d", {}, metadata=f"License: {'long ' * 40}\n")
    found = {name: installed.package.license for name, installed in by_name().items()}
    assert found == {
        "python": "PSF-2.0",
        "a": "MIT OR Apache-2.0",
        "b": "BSD License AND MIT License",
        "c": "MIT",
        "d": "unknown",
    }


def test_the_url_is_the_home_page_then_a_labelled_url_then_the_package_url(installation: Any) -> None:
    urls = "Project-URL: Tracker, https://t.example\nProject-URL: Source, https://s.example\n"
    installation.add("a", {}, metadata=f"Home-page: https://a.example\n{urls}")
    installation.add("b", {}, metadata=f"Home-page: UNKNOWN\n{urls}")
    installation.add("c", {}, metadata="Project-URL: Tracker, https://t.example\n")
    installation.add("d", {})
    found = {name: installed.package.url for name, installed in by_name().items() if name != "python"}
    assert found == {
        "a": "https://a.example",
        "b": "https://s.example",
        "c": "https://t.example",
        "d": "pkg:pypi/d@1.0",
    }


def test_the_description_is_the_body_of_the_metadata(installation: Any) -> None:
    installation.add("a", {}, description="# A\n\nDoes things, être.\n")
    installation.add("b", {})
    assert by_name()["a"].description == "# A\n\nDoes things, être."
    assert by_name()["b"].description == ""


def test_the_running_standard_library_is_found_whole() -> None:
    paths = {file.path for file in standard_library().files}
    assert {"abc.py", "json/decoder.py", "email/message.py", "asyncio/tasks.py"} <= paths
    assert not any("__pycache__" in path or "site-packages" in path or path.startswith("/") for path in paths)
