"""The process that carries out scenarios, from the tests' side; and runs that nothing disturbed, to compare with."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.pipeline.tiny import files, tree

ROOT = Path(__file__).parents[2]


class Host:
    """A `host.py` in some folder; it loads everything once.

    of: what it runs, `whole` runs or `toys`.
    """

    def __init__(self, folder: Path, of: str) -> None:
        self.of = of
        self.process = subprocess.Popen(
            [sys.executable, ROOT / "tests/chaos/host.py"],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __call__(self, scenario: str, **settings: Any) -> dict[str, Any]:
        """Carry out a scenario; its report."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        asked = {"scenario": scenario, "of": self.of, "seed": 0, "thorough": False, **settings}
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()
        report: dict[str, Any] = json.loads(self.process.stdout.readline())
        assert "error" not in report, report["error"]
        return report

    def end(self) -> None:
        """No more of them."""
        self.process.communicate()
        assert self.process.returncode == 0


OTHER = {"seed": 9, "mix__where": {"words": "length_v1.words >= 12"}, "mix__target_tokens": 7000}
"""Changes to the tiny recipe, for a run that is given up."""


@dataclass(frozen=True)
class Undisturbed:
    """A run that nothing disturbed: who carried it out, the recipe, what it left, and the commits of its tasks."""

    host: Host
    tree: dict[str, Any]
    folder: Path

    @classmethod
    def of(cls, host: Host, folder: Path, **changes: Any) -> Undisturbed:
        """Run the tiny recipe, changed, in `folder/run`."""
        run = cls(host, tree(**changes), folder / "run")
        host("undisturbed", tree=run.tree, commits=str(run.commits), output=str(run.folder))
        return run

    @property
    def commits(self) -> Path:
        return self.folder.with_name("commits.json")

    @property
    def phases(self) -> dict[str, dict[str, int]]:
        found: dict[str, dict[str, int]] = json.loads(self.commits.read_text(encoding="utf-8"))
        return found

    def again(self, scenario: str, output: Path, **settings: Any) -> dict[str, Any]:
        """The same run under a scenario: the same files; its report."""
        asked = {"tree": self.tree, "commits": str(self.commits), "output": str(output), **settings}
        report = self.host(scenario, **asked)
        left, expected = files(output), files(self.folder)
        others = [name for name in sorted(left.keys() | expected.keys()) if left.get(name) != expected.get(name)]
        assert others == []
        return report

    def launched(self, output: Path, *kills: int, redo: bool = False) -> list[Any]:
        """Launch it, killed before changes of these numbers, then once to its end: the same files; gives the ends.

        Args:
            redo: what was made with other settings is made again.
        """
        asked = {"tree": {**self.tree, "redo": redo}, "kills": [*kills, 0]}
        ends: list[Any] = self.again("launched", output, **asked)["ends"]
        return ends
