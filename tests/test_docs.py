"""Whatever the documentation shows is run: each page in an interpreter and a folder of its own (`docs_runner.py`)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
RUNNER = Path(__file__).with_name("docs_runner.py")
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/**/*.md")])


def run_page(page: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a page in `folder`, with the checkout's recipes at hand as `pipelines/`."""
    folder.mkdir(exist_ok=True)
    (folder / "pipelines").symlink_to(ROOT / "pipelines")
    command = [sys.executable, str(RUNNER), str(page)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_the_blocks_of_a_page_run(page: Path, tmp_path: Path) -> None:
    done = run_page(page, tmp_path / "work")
    assert done.returncode == 0, done.stdout + done.stderr


def written(folder: Path, text: str) -> Path:
    page = folder / "page.md"
    page.write_text(text)
    return page


def test_a_page_without_blocks_does_nothing(tmp_path: Path) -> None:
    done = run_page(written(tmp_path, "# Title\n\nText, and `code`.\n"), tmp_path / "work")
    assert (done.returncode, done.stdout) == (0, "0 blocks\n")


PAGE = """
```yaml
# file: sub/recipe.yaml
name: x
```
```python
# file: mine.py
def double(x):
    return 2 * x
```
Text between.
```python
from mine import double
total = double(21)
```
  ```python
  assert total == 42
  ```
```json
{"not": "run"}
```
```console
$ exit 1
```
```console run
$ cat sub/recipe.yaml
name: x
$ echo one; echo two; \\
> echo three
one
…
three
```
"""


def test_files_are_written_python_shares_a_namespace_and_commands_run(tmp_path: Path) -> None:
    done = run_page(written(tmp_path, PAGE), tmp_path / "work")
    assert done.stderr == ""
    assert done.stdout == "5 blocks\n"
    assert (tmp_path / "work/sub/recipe.yaml").read_text() == "# file: sub/recipe.yaml\nname: x\n"


@pytest.mark.parametrize(
    ("page", "words"),
    [
        ("text\n\n```python\nx = 1\nraise ValueError('no')\n```\n", 'page.md", line 5'),
        ("```console run\n$ echo a; exit 7\n```\n", "page.md:2: `echo a; exit 7` ended with 7:\na"),
        ("```console run\n$ echo a\nb\n```\n", "page.md:2: `echo a` does not print `b`"),
        ("```console run\n$ printf 'a\\nb\\n'\nb\na\n```\n", "does not print `a`"),
        ("```console run\necho a\n```\n", "page.md:2: a `console run` block starts with `$ command`"),
        ("```python\nx = 1\n", "line 1: the block is never closed"),
    ],
)
def test_a_block_that_does_not_do_what_the_page_says_fails(tmp_path: Path, page: str, words: str) -> None:
    done = run_page(written(tmp_path, page), tmp_path / "work")
    assert done.returncode != 0
    assert words in done.stderr
