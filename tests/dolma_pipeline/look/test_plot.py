from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from dolma_pipeline.cli import main
from dolma_pipeline.errors import UsageError
from dolma_pipeline.look import plot
from dolma_pipeline.look.plot import check_plot, picture
from dolma_pipeline.train.curves import Curves, Point

CURVES = Curves(
    loss=[Point(step, 5 - step / 500) for step in range(1, 2001)],
    losses={"web": [Point(1, 4.0)], "code & co": [Point(1, 5.0), Point(2, 4.0)]},
    skipped=[7, 9],
    bits={},
    tasks={"arc": [Point(0, 0.25, 0.1, 0.25), Point(3, 0.5, 0.1, 0.25)]},
)


def test_a_picture_in_svg() -> None:
    drawn = picture(CURVES, title="runs/a <b>", form="svg")
    ElementTree.fromstring(drawn)
    comments = [line for line in drawn.decode().splitlines() if line.strip().startswith("<!--")]
    for words in ("runs/a", "loss (nats a token)", "tasks (share of right answers)", "code", "skipped", "arc"):
        assert any(words in line for line in comments), words
    assert not any("held out" in line for line in comments)  # there is none
    assert drawn == picture(CURVES, title="runs/a <b>", form="svg")


def test_a_picture_in_png() -> None:
    assert picture(CURVES, title="a", form="png").startswith(b"\x89PNG")


def test_names_of_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (check_plot("a.PNG"), check_plot("a.svg")) == ("png", "svg")
    with pytest.raises(UsageError, match=r"a\.pdf: a picture ends in \.png or \.svg; found \.pdf"):
        check_plot("a.pdf")
    monkeypatch.setattr(plot.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"needs matplotlib.*dolma-pipeline\[report\]"):
        check_plot("a.svg")


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    (run / "train").mkdir(parents=True)
    (run / "train/metrics.jsonl").write_text('{"step": 1, "loss": 2.0}\n{"step": 2, "loss": 1.0}\n')
    assert main(["plot", str(run)]) == 0
    assert capsys.readouterr().out == f"{run}/plot.svg\n"
    assert (run / "plot.svg").is_file()
    assert main(["plot", str(run), "--output", str(tmp_path / "a.png")]) == 0
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert main(["plot"]) == 2
    assert "'plot' takes the folder of a run; found 0" in capsys.readouterr().err
    assert main(["plot", str(tmp_path / "nowhere")]) == 2
    assert "nothing is there" in capsys.readouterr().err
