"""A small made-up Python installation in a temporary folder, in place of the running one."""

from __future__ import annotations

import csv
import sysconfig
from collections.abc import Mapping
from pathlib import Path

import pytest


class Installation:
    """Folders `stdlib` and `site-packages`; `add` installs a distribution as pip leaves it."""

    def __init__(self, folder: Path) -> None:
        self.stdlib, self.site = folder / "stdlib", folder / "site-packages"
        self.stdlib.mkdir()
        self.site.mkdir()

    def add(
        self,
        name: str,
        files: Mapping[str, bytes | str],
        *,
        metadata: str = "",
        description: str = "",
        direct: str = "",
    ) -> None:
        info = f"{name.replace('-', '_')}-1.0.dist-info"
        headers = f"Metadata-Version: 2.4\nName: {name}\nVersion: 1.0\n{metadata}"
        contents = dict(files) | {f"{info}/METADATA": f"{headers}\n{description}"}
        if direct:
            contents[f"{info}/direct_url.json"] = direct
        for path, content in contents.items():
            write(self.site / path, content)
        with open(self.site / info / "RECORD", "w", newline="") as record:
            csv.writer(record).writerows([path, "", ""] for path in [*contents, f"{info}/RECORD"])


def write(path: Path, content: bytes | str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


@pytest.fixture
def installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installation:
    made = Installation(tmp_path)
    folders = {"stdlib": str(made.stdlib), "purelib": str(made.site), "platlib": str(made.site)}
    monkeypatch.setattr(sysconfig, "get_path", folders.__getitem__)
    return made
