from __future__ import annotations

import pytest
import torch.distributed as dist

from dolma_pipeline.errors import DataError, RunError
from dolma_pipeline.train import agree
from dolma_pipeline.train.agree import agreed, all_of, any_asks, same_everywhere
from dolma_pipeline.train.world import World


def test_one_process_agrees_with_itself(world: World) -> None:
    assert agreed(lambda: {"step": 3}) == {"step": 3}
    assert all_of(lambda: world.rank) == [0]
    assert not any_asks(False)
    assert any_asks(True)
    same_everywhere("steps", 3)


def test_errors_are_raised_by_those_who_hear_of_them(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing() -> int:
        raise RunError("no checkpoint")

    with pytest.raises(RunError, match="no checkpoint"):
        agreed(failing)

    def gather(told: list[object], mine: object) -> None:  # as process 1 of 2 hears it
        told[:] = [(None, RunError("process 0 cannot read it")), mine]

    monkeypatch.setattr(dist, "all_gather_object", gather)
    with pytest.raises(RunError, match="process 0 cannot read it"):
        all_of(lambda: 1)


def test_what_differs_is_named(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agree, "all_of", lambda find: [(512, 16384), (512, 16384), (500, 16000)])
    with pytest.raises(DataError, match=r"tokens: process 0 finds \(512, 16384\), process 2 finds \(500, 16000\)"):
        same_everywhere("tokens", (512, 16384))
