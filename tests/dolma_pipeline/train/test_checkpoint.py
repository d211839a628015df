from __future__ import annotations

import errno
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch

from dolma_pipeline.errors import DamagedCheckpointError, RunError
from dolma_pipeline.train.checkpoint import load_model, load_newest, save
from dolma_pipeline.train.files import Settings, committed_steps
from dolma_pipeline.train.model import Decoder
from dolma_pipeline.train.optim import adamw
from dolma_pipeline.train.shard import build
from dolma_pipeline.train.world import World


def trained(settings: Settings, world: World, *, seed: int, num_steps: int) -> tuple[Decoder, torch.optim.AdamW]:
    model = build(settings.model, seed=seed, mesh=world.mesh, device=world.device, precision="fp32")
    optimizer = adamw(model, settings.train)
    for step in range(num_steps):
        model(torch.full((1, 4), step)).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    return model, optimizer


def state(model: Decoder, optimizer: torch.optim.AdamW) -> list[torch.Tensor]:
    tensors = [p.detach() for p in model.parameters()]
    tensors += [value for p in model.parameters() for value in optimizer.state[p].values()]
    return [t.full_tensor() if hasattr(t, "full_tensor") else t for t in tensors]


def test_weights_and_moments_come_back(tmp_path: Path, world: World, settings: Settings) -> None:
    model, optimizer = trained(settings, world, seed=1, num_steps=3)
    save(tmp_path, 3, model=model, optimizer=optimizer, num_tokens=12)
    other, other_optimizer = trained(settings, world, seed=2, num_steps=1)
    assert not torch.equal(state(model, optimizer)[0], state(other, other_optimizer)[0])
    assert load_newest(tmp_path, model=other, optimizer=other_optimizer) == 3
    for ours, theirs in zip(state(model, optimizer), state(other, other_optimizer), strict=True):
        assert torch.equal(ours, theirs)
    assert {float(s["step"]) for s in other_optimizer.state.values()} == {3.0}


def test_saving_before_the_first_step_is_no_step(tmp_path: Path, world: World, settings: Settings) -> None:
    model, optimizer = trained(settings, world, seed=1, num_steps=0)
    save(tmp_path, 0, model=model, optimizer=optimizer, num_tokens=0)
    assert load_newest(tmp_path, model=model, optimizer=optimizer) == 0
    assert {float(s["step"]) for s in optimizer.state.values()} == {0.0}


def test_the_newest_whole_one_is_taken(tmp_path: Path, world: World, settings: Settings) -> None:
    model, optimizer = trained(settings, world, seed=1, num_steps=0)
    assert load_newest(tmp_path, model=model, optimizer=optimizer) is None
    for step in (2, 10, 4):
        save(tmp_path, step, model=model, optimizer=optimizer, num_tokens=step)
    (tmp_path / "train/step-000010/commit.json").unlink()
    assert load_newest(tmp_path, model=model, optimizer=optimizer) == 4


def test_an_unsharded_model_reads_it(tmp_path: Path, world: World, settings: Settings) -> None:
    model, optimizer = trained(settings, world, seed=1, num_steps=2)
    save(tmp_path, 2, model=model, optimizer=optimizer, num_tokens=8)
    plain = Decoder(settings.model)
    load_model(tmp_path, 2, model=plain)
    for ours, theirs in zip(plain.parameters(), model.parameters(), strict=True):
        assert torch.equal(ours, theirs.cpu())


def damaged(content: bytes, how: str) -> bytes:
    """With one bit flipped in its middle, or cut there."""
    middle = len(content) // 2
    if how == "cut":
        return content[:middle]
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.mark.parametrize("how", ["flipped", "cut", "gone"])
@pytest.mark.parametrize("name", ["model_and_optim/.metadata", "model_and_optim/__0_0.distcp", "commit.json"])
def test_a_damaged_file_is_named_and_never_used(
    tmp_path: Path, world: World, settings: Settings, capfd: pytest.CaptureFixture[str], name: str, how: str
) -> None:
    model, optimizer = trained(settings, world, seed=1, num_steps=1)
    for step in (1, 2):
        save(tmp_path, step, model=model, optimizer=optimizer, num_tokens=4 * step)
    path = tmp_path / "train/step-000002" / name
    if how == "gone":
        path.unlink()
    else:
        path.write_bytes(damaged(path.read_bytes(), how))
    other, other_optimizer = trained(settings, world, seed=2, num_steps=0)
    before = [value.clone() for value in state(other, other_optimizer)]
    if (name, how) == ("commit.json", "gone"):  # it was never whole
        assert load_newest(tmp_path, model=other, optimizer=other_optimizer) == 1
        return
    advice = r"set train.allow_older_checkpoint to true to go on after step 1, or give --redo"
    with pytest.raises(DamagedCheckpointError, match=rf"step-000002/{name}: .*\. Put the file back, or {advice}"):
        load_newest(tmp_path, model=other, optimizer=other_optimizer)
    with pytest.raises(DamagedCheckpointError, match=rf"step-000002/{name}: "):
        load_model(tmp_path, 2, model=Decoder(settings.model))
    assert all(torch.equal(a, b) for a, b in zip(before, state(other, other_optimizer), strict=True))
    assert load_newest(tmp_path, model=other, optimizer=other_optimizer, allow_older=True) == 1
    assert f"step-000002/{name}: " in capfd.readouterr().err
    assert torch.equal(state(model, optimizer)[0], state(other, other_optimizer)[0])


def test_all_of_them_damaged(tmp_path: Path, world: World, settings: Settings) -> None:
    model, optimizer = trained(settings, world, seed=1, num_steps=0)
    for step in (1, 2):
        save(tmp_path, step, model=model, optimizer=optimizer, num_tokens=step)
        (tmp_path / f"train/step-{step:06d}/model_and_optim/.metadata").unlink()
    with pytest.raises(DamagedCheckpointError, match=r"step-000001/.*There is no older checkpoint.*--redo"):
        load_newest(tmp_path, model=model, optimizer=optimizer, allow_older=True)


def test_a_damaged_one_is_written_anew(tmp_path: Path, world: World, settings: Settings) -> None:
    model, optimizer = trained(settings, world, seed=1, num_steps=0)
    save(tmp_path, 2, model=model, optimizer=optimizer, num_tokens=8)
    (tmp_path / "train/step-000002/model_and_optim/__0_0.distcp").write_bytes(b"")
    save(tmp_path, 2, model=model, optimizer=optimizer, num_tokens=8)
    assert load_newest(tmp_path, model=model, optimizer=optimizer) == 2


@pytest.mark.parametrize("full_at", ["__0_0.distcp", ".metadata.tmp", "commit.json"])
def test_a_full_disk(
    tmp_path: Path, world: World, settings: Settings, monkeypatch: pytest.MonkeyPatch, full_at: str
) -> None:
    """It is one clear error, and nothing counts; with room again the same call saves."""
    model, optimizer = trained(settings, world, seed=1, num_steps=1)

    def full(*_: object) -> NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device")

    opened = Path.open

    def opening(path: Path, *how: Any, **more: Any) -> Any:
        return full() if path.name == full_at else opened(path, *how, **more)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", opening)
        if full_at == "commit.json":
            patch.setattr("dolma_pipeline.io.paths.write_bytes", full)
        with pytest.raises(RunError, match=r"train/step-000003 cannot be written: no space left on device. Free some"):
            save(tmp_path, 3, model=model, optimizer=optimizer, num_tokens=12)
    assert committed_steps(tmp_path) == []
    save(tmp_path, 3, model=model, optimizer=optimizer, num_tokens=12)
    assert committed_steps(tmp_path) == [3]
