"""Files are opened, read, written, moved and deleted in `dolma_pipeline/storage` alone; every exception says why."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("dolma_pipeline", "taggers", "mixers", "pipelines")

METHODS = {"read_bytes", "read_text", "write_bytes", "write_text"}
"""Of paths; whatever they are called on."""
FUNCTIONS = {
    *("open", "io.open", "io.FileIO", "os.open", "os.fdopen", "os.link", "os.mkdir", "os.makedirs", "os.remove"),
    *("os.rename", "os.renames", "os.replace", "os.rmdir", "os.symlink", "os.truncate", "os.unlink"),
    *("gzip.open", "lzma.open", "bz2.open", "zipfile.ZipFile", "tarfile.open", "mmap.mmap", "smart_open.open"),
    *("np.load", "np.save", "np.memmap", "numpy.load", "numpy.save", "numpy.memmap"),
    *("pa.memory_map", "pa.OSFile", "pyarrow.memory_map", "pyarrow.OSFile"),
}
MODULES = {"shutil", "tempfile", "obstore"}
"""Any function of them."""
PATH_METHODS = {"open", "mkdir", "rename", "rmdir", "symlink_to", "hardlink_to", "touch", "unlink"}
"""Of paths; other things have such methods, too, so these count only where the file imports `pathlib` or `Path`."""


def uses(source: str) -> Iterator[tuple[int, str]]:
    """Line and name of everything in a source that opens, reads, writes, moves or deletes files."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            for one in node.names:
                if f"{node.module}.{one.name}" in FUNCTIONS | {"builtins.open"} or node.module in MODULES:
                    yield node.lineno, f"from {node.module} import {one.name}"
    has_paths = any(
        "pathlib" in ast.unparse(one) for one in ast.walk(tree) if isinstance(one, ast.Import | ast.ImportFrom)
    )
    for node in ast.walk(tree):
        if isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Load):
            name = ast.unparse(node)
            head, _, last = name.rpartition(".")
            if name in FUNCTIONS or head in MODULES:
                yield node.lineno, name
            elif isinstance(node, ast.Attribute) and (last in METHODS or (has_paths and last in PATH_METHODS)):
                yield node.lineno, last


LOCAL_TOOL = "works on this machine's disk only, and only in the launcher"

EXCEPTIONS = {
    "dolma_pipeline/assets.py": "models in the user's cache, found before any run",
    "dolma_pipeline/cli/__init__.py": "the null device, for an output that nobody reads",
    "dolma_pipeline/config/yaml.py": "a recipe, which is the user's own local file",
    "dolma_pipeline/demo/*.py": "collects a corpus from files of this machine",
    "dolma_pipeline/engines/control.py": "the queue of one machine: it needs an append that is atomic",
    "dolma_pipeline/engines/fork_server.py": "file descriptors of a process",
    "dolma_pipeline/engines/forks.py": "what a process writes to standard error, in a file without a name",
    "dolma_pipeline/engines/handshake.py": "the sources of this library, to be compared with those of workers",
    "dolma_pipeline/look/elsewhere.py": "a folder for another process, which goes with it",
    "dolma_pipeline/engines/watchdog.py": "/proc: which processes there are",
    "dolma_pipeline/fit/*.py": "texts and models at paths that scratch gave, and a model where the user wants it",
    "dolma_pipeline/cli/plot.py": "a picture where the user wants it",
    "dolma_pipeline/kernels/fasttext*.py": "a model, from its path",
    "dolma_pipeline/kernels/warm.py": "a stamp beside numba's cache",
    "dolma_pipeline/registry.py": "the user's modules, which travel as text",
    "dolma_pipeline/tokens/*.py": "memory maps and files at a path that a folder gave (`RunFolder.local`, scratch)",
    "dolma_pipeline/train/*.py": LOCAL_TOOL,
    "dolma_pipeline/evals/*.py": LOCAL_TOOL,
    "dolma_pipeline/io/attribute_cut.py": "lines of attributes made elsewhere, in a file without a name",
    "dolma_pipeline/io/attribute_lines.py": "attributes made elsewhere, at a path of the user's",
    "dolma_pipeline/io/disk.py": "how much is free",
    "dolma_pipeline/io/paths.py": "inputs, at paths and addresses of the user's",
    "dolma_pipeline/kernels/byte_ngrams_file.py": "a model, from its path",
    "dolma_pipeline/kernels/compiled.py": "machine code beside numba's cache",
    "dolma_pipeline/runner/lock.py": "/proc: whether a process is alive",
}
"""Pattern of file names -> why files are touched there."""


def touching() -> dict[str, list[str]]:
    """Files outside of storage that touch files: name -> `line: use`."""
    found: dict[str, list[str]] = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            if not name.startswith("dolma_pipeline/storage/"):
                for line, use in uses(path.read_text(encoding="utf-8")):
                    found.setdefault(name, []).append(f"{name}:{line}: {use}")
    return found


def test_files_are_touched_in_storage_alone() -> None:
    found = touching()
    assert found, "nothing touches files: this test looks in the wrong place"
    told = [use for name, many in found.items() for use in many if not any(fnmatch(name, one) for one in EXCEPTIONS)]
    assert told == [], "use a RunFolder or Scratch (dolma_pipeline/storage), or add an exception with its reason"


def test_no_exception_is_left_over() -> None:
    found = touching()
    assert [one for one in EXCEPTIONS if not any(fnmatch(name, one) for name in found)] == []


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("open('x')", ["open"]),
        ("import io\nio.open('x')", ["io.open"]),
        ("import os\nos.replace('a', 'b')", ["os.replace"]),
        ("import os\nmap(os.unlink, names)", ["os.unlink"]),
        ("import shutil\nshutil.copytree(a, b)", ["shutil.copytree"]),
        ("x.write_bytes(b'')", ["write_bytes"]),
        ("from pathlib import Path\nPath('x').open()", ["open"]),
        ("from pathlib import Path\n(a / 'x').unlink()", ["unlink"]),
        ("import numpy as np\nnp.memmap('x')", ["np.memmap"]),
        ("from shutil import rmtree\nrmtree(x)", ["from shutil import rmtree"]),
        ("from os import replace as move\nmove(a, b)", ["from os import replace"]),
        ("from builtins import open as o\no(x)", ["from builtins import open"]),
        ("door.open(x)", []),
        ("import os\nos.getpid(); os.environ['open']; os.path.join(a, b)", []),
        ("'open(x)'", []),
        ("folder.write('name', b'')", []),
        ("self.open = 3", []),
    ],
)
def test_what_is_seen(source: str, expected: list[str]) -> None:
    assert [use for _, use in uses(source)] == expected
