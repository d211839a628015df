"""A package with taggers, installed in an environment of its own, as its user would: found, checked, run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import pyarrow.parquet as pq
import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "tests" / "packages" / "word_colours"


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The interpreter of an environment that has this library, all that it needs, and the package."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False, symlinks=True)
    (places,) = folder.glob("lib/python*/site-packages")
    (places / "library.pth").write_text("".join(f"{place}\n" for place in (ROOT, *sys.path) if Path(place).is_dir()))
    (source := folder / "source").mkdir()
    for file in PACKAGE.rglob("*.*"):
        if file.suffix in (".py", ".toml", ".txt"):
            target = source / file.relative_to(PACKAGE)
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(file.read_bytes())
    python = str(folder / "bin" / "python")
    command = ["-m", "pip", "install", "--quiet", "--no-index", "--no-build-isolation", "--no-deps", str(source)]
    subprocess.run([python, *command], check=True, env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"})
    return python


def typed(python: str, folder: Path, *words: str, text: str = "") -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [python, "-m", "dolma_pipeline", *words]
    done = subprocess.run(command, input=text, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_package_of_taggers(python: str, tmp_path: Path) -> None:
    listed = json.loads(typed(python, tmp_path, "list", "taggers", "--format", "json"))
    (colours,) = [one for one in listed if one["name"] == "colours_v1"]
    assert (colours["origin"], colours["parameters"]) == ("word-colours 1.0", {"any_case": True})
    assert typed(python, tmp_path, "check", "colours_v1", "any_case=false") == "colours_v1  ok\n"
    said = typed(python, tmp_path, "explain", "-", "--tagger", "colours_v1", text="A red sky, a Green hill.")
    assert said.endswith("text             |A red sky, a Green hill.\ncolours_v1.names |  <->        <--->\n")
    (tmp_path / "documents.jsonl").write_text('{"id": "a", "text": "red and blue"}\n{"id": "b", "text": "gray"}\n')
    (tmp_path / "recipe.yaml").write_text(
        "output: run\nsources: {web: {documents: documents.jsonl}}\ntag: {taggers: [colours_v1]}\n"
    )
    typed(python, tmp_path, "tag", "recipe.yaml")
    column = pq.read_table(tmp_path / "run/attributes/colours_v1/web/documents.parquet").column("colours_v1")
    assert [row["per_hundred"] for row in column.to_pylist()] == [pytest.approx(200 / 3), 0.0]
