"""The program as it was: a commit of this repository in a folder of its own, run with the packages of this environment.

Its kernels are compiled beside its own sources. Some seconds and 3 MB, once; made again when the commit or the place of
the packages changes.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tarfile
import venv
from dataclasses import dataclass
from pathlib import Path

from environments import HERE

COMMIT = "0db4c12"
"""What changes are measured against."""


@dataclass(frozen=True)
class Program:
    """A state of the program.

    name: `after` or `before`. python: runs it. home: the folder that its packages are imported from.
    """

    name: str
    python: str
    home: Path

    @property
    def is_old(self) -> bool:
        """Whether it takes the recipe's keys as they were."""
        return self.name == "before"


AFTER = Program("after", sys.executable, HERE.parents[1])
"""What is checked out."""


def before(folder: Path, *, commit: str = COMMIT, repository: Path = AFTER.home) -> Program | None:
    """The program of a commit, in `folder`; None, and a line on standard error, where it cannot be had."""
    tree, environment = folder / "tree", folder / "environment"
    sites = [path for path in sys.path if Path(path).name == "site-packages"]
    made, state = folder / "made.txt", "\n".join([commit, sys.version, *sites])
    if not made.exists() or made.read_text() != state:
        shutil.rmtree(folder, ignore_errors=True)
        content = _archive(repository, commit)
        if content is None:
            return None
        print(f"unpacking {commit} into {folder}", file=sys.stderr)
        with tarfile.open(fileobj=io.BytesIO(content)) as files:
            files.extractall(tree, filter="data")
        venv.create(environment, with_pip=False)
        found = next((environment / "lib").glob("python*")) / "site-packages"
        # the old program before an installed one; lines of `.pth` files in these folders are not followed
        (found / "before.pth").write_text("\n".join([str(tree.resolve()), *sites]) + "\n")
        made.write_text(state)
    return Program("before", str(environment / "bin" / "python"), tree.resolve())


def _archive(repository: Path, commit: str) -> bytes | None:
    """The files of a commit as tar; None, and a line that says why, without git, repository or commit."""
    try:
        done = subprocess.run(["git", "-C", str(repository), "archive", "--format=tar", commit], capture_output=True)
    except FileNotFoundError:
        reason = "git is not installed"
    else:
        if done.returncode == 0:
            return done.stdout
        reason = done.stderr.decode(errors="replace").strip().splitlines()[-1]
    print(f"without the program before ({reason}): to measure it too, fetch commit {commit}", file=sys.stderr)
    return None
