"""The process that carries out scenarios, from the tests' side."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

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
