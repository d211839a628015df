"""Steps that mark repeats, with workers that are killed, late and there twice: all their phases, as of the others."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.hosting import Host, Undisturbed
from tests.chaos.test_chaos import check_killed, check_stragglers, check_twice

pytestmark = pytest.mark.chaos

DEDUPE = {
    "prefer": "chars DESC",
    "steps": [
        {"name": "exact", "kind": "exact"},
        {"name": "minhash", "kind": "minhash"},
        {"name": "runs", "kind": "substring", "words": 12},
        {"name": "lines", "kind": "paragraphs", "unit": "line", "min_unit_chars": 20},
    ],
}
WHERE = {"words": "length_v1.words >= 10", "unique": "exact.keep", "own": "runs.coverage < 0.9"}


@pytest.fixture(scope="module")
def repeats(host: Host, tokenizer: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """With an order, so that one task sorts documents."""
    place = tmp_path_factory.mktemp("repeats")
    return Undisturbed.of(host, place, tokenizer=tokenizer, dedupe=DEDUPE, mix__where=WHERE)


def test_all_phases_are_there(repeats: Undisturbed) -> None:
    phases = {f"dedupe/{what}/{step}" for what in ("seen", "placed", "mark", "spans") for step in ("runs", "lines")}
    assert phases | {"dedupe/anchors/runs", "dedupe/wanted/runs", "dedupe/runs/runs"} <= set(repeats.phases)


def test_everything_twice_at_once(repeats: Undisturbed, tmp_path: Path) -> None:
    check_twice(repeats, tmp_path / "run", seed=1)


def test_a_worker_is_killed_in_every_phase(repeats: Undisturbed, tmp_path: Path) -> None:
    check_killed(repeats, tmp_path / "run", seed=1)


def test_stragglers_in_every_phase(repeats: Undisturbed, tmp_path: Path) -> None:
    check_stragglers(repeats, tmp_path / "run", seed=1)
