"""The other environment, in which other libraries read what is ours.

`make interop` makes it and names its Python in DOLMA_PIPELINE_INTEROP_PYTHON.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def python(request: pytest.FixtureRequest) -> str:
    """The other environment's Python. Without it a test run at large skips; one of interop alone fails."""
    found = os.environ.get("DOLMA_PIPELINE_INTEROP_PYTHON")
    if found:
        return os.path.abspath(found)
    message = "DOLMA_PIPELINE_INTEROP_PYTHON is not set; `make interop` sets it"
    if request.config.getoption("markexpr") == "interop":
        pytest.fail(message)
    pytest.skip(message)


@pytest.fixture(scope="session")
def answers(python: str) -> Callable[..., dict[str, Any]]:
    """Runs a script of this folder there; gives the JSON object that it prints last."""

    def ask(script: str, asked: dict[str, Any], *, folder: Path) -> dict[str, Any]:
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        done = subprocess.run(
            [python, str(Path(__file__).with_name(script)), json.dumps(asked)],
            cwd=folder,
            env=environment | {"HF_HUB_OFFLINE": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found

    return ask
