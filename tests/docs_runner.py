"""Runs the blocks of one page of documentation, from top to bottom, in the current folder: `docs_runner.py PAGE`.

    ```python              runs; all of a page share one namespace, as in one session
    ```python, ```yaml …   whose first line is `# file: NAME`: is written to NAME instead (Python can then import it)
    ```console run         lines that start with `$ ` run in bash; the lines below them must appear in its output,
                           in that order (`…` stands for anything)

Every other block is text. An error names the page and the line.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

_FENCE = re.compile(r"^(?P<indent> {0,3})(?P<fence>```+|~~~+)(?P<info>[^`]*)$")
_FILE = re.compile(r"^# file: (?P<name>\S+)$")


class Block(NamedTuple):
    """A fenced block: the words after the fence, its lines, and the page's line (from 1) of the first of them."""

    info: str
    text: str
    line: int

    @property
    def file(self) -> str | None:
        """The file that it is to be written to."""
        found = _FILE.match(self.text.split("\n")[0])
        return found["name"] if found else None


class PageError(Exception):
    """A block that does not do what the page says."""


def blocks(page: str) -> Iterator[Block]:
    """The fenced blocks of a page in Markdown."""
    lines = page.split("\n")
    at = 0
    while at < len(lines):
        opening = _FENCE.match(lines[at])
        at += 1
        if opening is None:
            continue
        start = at
        closing = re.compile(rf"^ {{0,3}}{re.escape(opening['fence'])}[`~]*\s*$")
        while at < len(lines) and not closing.match(lines[at]):
            at += 1
        if at == len(lines):
            raise PageError(f"line {start}: the block is never closed")
        inner = [line.removeprefix(opening["indent"]) for line in lines[start:at]]
        yield Block(opening["info"].strip(), "".join(line + "\n" for line in inner), start + 1)
        at += 1


def run_page(path: Path) -> int:
    """Run a page's blocks; how many did something."""
    module = ModuleType("docs_page")
    sys.modules[module.__name__] = module
    done = 0
    for block in blocks(path.read_text(encoding="utf-8")):
        where = f"{path.name}:{block.line}"
        if block.file is not None:
            Path(block.file).parent.mkdir(parents=True, exist_ok=True)
            Path(block.file).write_text(block.text, encoding="utf-8")
        elif block.info == "python":
            # empty lines in front make the lines of a traceback those of the page
            exec(compile("\n" * (block.line - 1) + block.text, str(path), "exec"), vars(module))
        elif block.info == "console run":
            run_console(block, where)
        else:
            continue
        done += 1
    return done


def run_console(block: Block, where: str) -> None:
    """Run the commands of a block and compare what they print with what it shows."""
    commands: list[tuple[str, list[str]]] = []
    for line in block.text.splitlines():
        if line.startswith("$ "):
            commands.append((line[2:], []))
        elif commands and commands[-1][0].endswith("\\") and line.startswith("> "):
            commands[-1] = (f"{commands[-1][0]}\n{line[2:]}", [])
        elif not commands:
            raise PageError(f"{where}: a `console run` block starts with `$ command`")
        else:
            commands[-1][1].append(line)
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    for command, shown in commands:
        ran = subprocess.run(["bash", "-c", command], env=environment, capture_output=True, text=True)
        output = ran.stdout + ran.stderr
        if ran.returncode != 0:
            raise PageError(f"{where}: `{command}` ended with {ran.returncode}:\n{output}")
        rest = iter(output.splitlines())
        for line in shown:
            if line.strip() not in ("", "…") and not any(line.rstrip() == printed.rstrip() for printed in rest):
                raise PageError(f"{where}: `{command}` does not print `{line}` (there), but:\n{output}")


if __name__ == "__main__":
    sys.path[0] = os.getcwd()  # not the folder of this script
    try:
        print(run_page(Path(sys.argv[1])), "blocks")
    except PageError as error:
        sys.exit(str(error))
