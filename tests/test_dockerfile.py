"""The commands of the workers' image, carried out in plain folders as far as they go without a container engine.

Its base and its packages come from networks; the environment of the tests stands for them.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.pipeline.pool import pool

ROOT = Path(__file__).parents[1]
DOCKERFILE = (ROOT / "pipelines" / "Dockerfile").read_text(encoding="utf-8")


def variables() -> dict[str, str]:
    """What ENV sets."""
    (block,) = re.findall(r"^ENV ((?:.*\\\n)*.*)$", DOCKERFILE, re.M)
    return {name: value.strip('"') for name, value in re.findall(r'(\w+)=("[^"]*"|\S+)', block)}


def runs() -> list[str]:
    """What RUN says, on one line each."""
    return [one.replace("\\\n", " ") for one in re.findall(r"^RUN ((?:.*\\\n)*.*)$", DOCKERFILE, re.M)]


def test_its_base_is_the_beam_and_the_python_that_constraints_pin() -> None:
    (base,) = re.findall(r"^FROM (\S+)$", DOCKERFILE, re.M)
    (beam,) = re.findall(r"^ARG BEAM_VERSION=(\S+)$", DOCKERFILE, re.M)
    assert base == "apache/beam_python3.11_sdk:${BEAM_VERSION}"
    assert f"apache-beam=={beam}\n" in (ROOT / "constraints.txt").read_text()
    assert version("apache-beam") == beam
    assert "ENTRYPOINT" not in DOCKERFILE, "Beam's own program starts workers"
    assert "CMD" not in DOCKERFILE


def test_what_is_copied_is_there_or_made_by_the_first_command() -> None:
    (copied,) = re.findall(r"^COPY (.*)$", DOCKERFILE, re.M)
    assert copied.split() == ["constraints.txt", "dist/*.whl", "/opt/dolma/"]
    assert "#   python -m pip wheel --no-deps --wheel-dir dist .\n" in DOCKERFILE


@pytest.mark.slow
def test_its_commands(tmp_path: Path) -> None:
    site, kernels, home = tmp_path / "site", tmp_path / "kernels", tmp_path / "home"
    home.mkdir()
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    source = tmp_path / "source"  # a build leaves folders where it works
    subprocess.run(["git", "clone", "--quiet", "--shared", str(ROOT), str(source)], check=True)
    wheel = [
        *pip,
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "--wheel-dir",
        str(tmp_path),
        str(source),
    ]
    subprocess.run(wheel, check=True)
    (built,) = tmp_path.glob("*.whl")
    install, compile_ = runs()
    assert "pip install --no-cache-dir --constraint /opt/dolma/constraints.txt /opt/dolma/*.whl" in install
    subprocess.run([*pip, "install", "--no-deps", "--no-index", "--target", str(site), str(built)], check=True)
    assert (site / "pipelines" / "quickstart.yaml").exists()
    assert (site / "pipelines" / "rules" / "gopher.yaml").exists()
    assert (site / "taggers").is_dir()
    environment = {
        **variables(),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), "/usr/bin", "/bin"]),
        "HOME": str(home),
        "PYTHONPATH": str(site),
        "NUMBA_CACHE_DIR": str(kernels),
    }
    command = compile_.partition(" && ")[0]
    assert command == "python -m dolma_pipeline.kernels"
    said = subprocess.run(f"{command} words", shell=True, env=environment, cwd=home, capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    compiled = {path.name: path.stat().st_mtime_ns for path in kernels.rglob("*.nb?")}
    assert compiled
    assert not [*home.rglob("*.nb?"), *site.rglob("*.nb?")]
    script = (
        "import dolma_pipeline, sys\n"
        f"assert dolma_pipeline.__file__.startswith({str(site)!r}), dolma_pipeline.__file__\n"
        "from dolma_pipeline.kernels.warm import warm\n"
        "warm(['words'])\n"
        "from dolma_pipeline.kernels import words\n"
        "jitted = [one for one in vars(words).values() if hasattr(one, 'stats') and one.signatures]\n"
        "assert jitted\n"
        "assert not [one for one in jitted if one.stats.cache_misses], [one.stats for one in jitted]\n"
    )
    loaded = subprocess.run(["python", "-c", script], env=environment, cwd=home, capture_output=True, text=True)
    assert loaded.returncode == 0, loaded.stderr
    assert {path.name: path.stat().st_mtime_ns for path in kernels.rglob("*.nb?")} == compiled
    started = {**variables(), "PYTHONPATH": str(site), "NUMBA_CACHE_DIR": str(kernels)}
    with pool(tmp_path / "pool", **started) as workers:  # in the image by Beam's own program
        assert workers.process.poll() is None
