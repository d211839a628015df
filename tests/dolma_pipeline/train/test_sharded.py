"""Several processes, as torchrun starts them: what each holds, and that they compute what one does."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

CHILD = Path(__file__).with_name("sharded_child.py")


def run(folder: Path, *, nodes: int, node_size: int, shard_over: str) -> list[dict[str, Any]]:
    """What each process found; every node is a torchrun of its own."""
    folder.mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    rendezvous = [f"--nnodes={nodes}", "--rdzv-backend=c10d", f"--rdzv-endpoint=127.0.0.1:{port}", "--rdzv-id=test"]
    command = ["-m", "torch.distributed.run", *rendezvous, f"--nproc-per-node={node_size}", str(CHILD), str(folder)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    environment["PYTHONPATH"] = os.pathsep.join(
        map(str, (Path(__file__).parents[3], environment.get("PYTHONPATH", "")))
    )
    agents = [
        subprocess.Popen([sys.executable, *command, shard_over], env=environment, stderr=subprocess.PIPE, text=True)
        for _ in range(nodes)
    ]
    for agent in agents:
        said = agent.communicate(timeout=240)[1]
        assert agent.returncode == 0, said
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(nodes * node_size)]


def test_two_processes_never_hold_a_whole_gradient_between_micro_batches(tmp_path: Path) -> None:
    found = run(tmp_path / "two", nodes=1, node_size=2, shard_over="all")
    for process in found:
        assert all(process["first_weights_are_those_of_the_seed"].values())
        assert len(process["first_weights_are_those_of_the_seed"]) == 10
        assert process["mine"] * 2 == process["parameters"]
        assert len(process["held"]) == 4 * 4 - 1  # four steps of four micro-batches
        in_the_midst = [held for held in process["held"] if held["with_gradient"]]
        assert len(in_the_midst) == 4 * 3
        for held in in_the_midst:
            assert held == {"sharded": 4 * process["mine"], "with_gradient": 10, "unsharded": 0}
    assert found[0]["losses"] == found[1]["losses"]


@pytest.mark.slow
def test_a_copy_in_each_node_computes_what_one_copy_over_all_does(tmp_path: Path) -> None:
    over_all = run(tmp_path / "all", nodes=2, node_size=2, shard_over="all")
    of_nodes = run(tmp_path / "node", nodes=2, node_size=2, shard_over="node")
    for all_, node in zip(over_all, of_nodes, strict=True):
        assert (all_["mesh"], node["mesh"]) == ([4], [2, 2])
        assert all_["mine"] * 4 == node["mine"] * 2 == node["parameters"]
        assert all(node["first_weights_are_those_of_the_seed"].values())
        for ours, theirs in zip(node["losses"], all_["losses"], strict=True):
            assert ours == pytest.approx(theirs, rel=1e-6)
        assert all(held["unsharded"] == 0 for held in node["held"])
