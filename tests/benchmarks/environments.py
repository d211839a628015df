"""The peers' own environments, one each, and how a measured process is started.

Their versions are pinned whole in peers/*.txt and installed without asking for dependencies: dolma's pins of
s3fs and boto3 would make pip try hundreds of releases. About 35 s and 450 MB each.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PEERS = {"dolma": "dolma==1.2.1", "datatrove": "datatrove==0.10.1", "lm_eval": "lm_eval==0.4.13"}

_ONE_THREAD = ("OMP", "OPENBLAS", "MKL", "NUMBA", "RAYON")


def install(name: str, folder: Path) -> Path:
    """The Python of peer `name`'s environment in `folder`, made if it is missing or its pins have changed."""
    home, pins = folder / name, (HERE / "peers" / f"{name}.txt").read_text()
    python, done = home / "bin" / "python", home / "installed.txt"
    if not done.exists() or done.read_text() != pins:
        print(f"installing {PEERS[name]} into {home}", file=sys.stderr)
        venv.create(home, with_pip=True, clear=True)
        requirements = str(HERE / "peers" / f"{name}.txt")
        subprocess.run([python, "-m", "pip", "install", "-q", "--no-deps", "-r", requirements], check=True)
        # dolma looks for this folder at every start and would try to download it
        (home / "nltk_data" / "tokenizers" / "punkt").mkdir(parents=True, exist_ok=True)
        done.write_text(pins)
    return python


def measure(
    script: str,
    *arguments: object,
    python: Path | str = sys.executable,
    home: Path = HERE.parents[1],
    variables: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Run a script of this folder in a process of its own with one thread; its last line of output is the result.

    Args:
        script: its name. arguments: its arguments. python: runs it. home: the folder of the library that it imports.
        variables: of its environment, beside those that are always set.
    """
    place = Path(python).parent.parent
    threads = {f"{name}_NUM_THREADS": "1" for name in _ONE_THREAD}
    offline = {"TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1", "NLTK_DATA": str(place / "nltk_data")}
    environment = os.environ | threads | offline | {"PYTHONHASHSEED": "0", "PYTHONPATH": str(home)} | (variables or {})
    command = [str(python), str(HERE / script), *map(str, arguments)]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{script} ended with {done.returncode}; its messages are above")
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result
