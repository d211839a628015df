"""Help texts: of the program, and of each command with its keys and their defaults from the dataclasses."""

from __future__ import annotations

from collections.abc import Sequence

from dolma_pipeline.cli.command import Command
from dolma_pipeline.cli.commands import COMMANDS

HEAD = """\
Usage: dolma-pipeline [-v|-q] COMMAND [RECIPE] [KEY=VALUE ...] [-- BEAM OPTIONS]

Turns raw documents into tokenized shards, and scores them by training a model.

  dolma-pipeline run pipelines/quickstart.yaml       from documents to a score
  dolma-pipeline mix my.yaml mix.target_tokens=20M   one stage
  dolma-pipeline mix my.yaml --plan                  what there is and what would be taken; reads no text
  dolma-pipeline mix my.yaml --what-if 'words: gopher_v1.word_count >= 100'
  dolma-pipeline run my.yaml --dry-run               check it all, start nothing
"""

TAIL = """\
Options   --dry-run  --redo  --format text|json  --version
Exit      0 done; 1 failed, the same command resumes; 2 wrong use, nothing started;
          3 done, but a stated bound was missed; 130 interrupted; 143 ended by a signal

'dolma-pipeline COMMAND --help' shows its keys, their defaults and an example.
"""

COMMON = (("-v, -q", "more, or less, on stderr"),)


def program_help() -> str:
    """What `dolma-pipeline --help` shows: commands by group."""
    lines = []
    group = ""
    width = max(len(name) for name in COMMANDS)
    for command in COMMANDS.values():
        shown = "" if command.group == group else command.group
        lines.append(f"{shown:<10}{command.name:<{width}}  {command.summary}")
        group = command.group
    return HEAD + "\n" + "\n".join(lines) + "\n\n" + TAIL


def command_help(command: Command) -> str:
    """What `dolma-pipeline COMMAND --help` shows."""
    parts = [f"Usage: dolma-pipeline {command.name} {command.usage}", command.details]
    if command.section is not None:
        parts += _keys(command)
    options = [(option.form, option.purpose) for option in command.options]
    parts.append("Options\n" + _table([*options, *COMMON]))
    parts.append("Examples\n" + "\n".join(f"  {line}" for line in command.example.splitlines()))
    return "\n\n".join(parts) + "\n"


def _keys(command: Command) -> list[str]:
    from dolma_pipeline.config.keys import fields_of, rows_of, section_of
    from dolma_pipeline.config.recipe import Recipe

    names = command.stages or [field.yaml_name for field in fields_of(Recipe)]
    parts = []
    heading = "Keys of the recipe" if not command.stages else "Keys"
    rows = [("key", "default", "type", "")]
    for field in fields_of(Recipe):
        if field.yaml_name not in names:
            continue
        section = section_of(field.type)
        if command.stages and section is not None:
            below = rows_of(section, f"{field.yaml_name}.")
            rows += [(row.path, row.default, row.type, row.purpose) for row in below]
        else:
            row = next(row for row in rows_of(Recipe) if row.path == field.yaml_name)
            rows.append((row.path, row.default, row.type, row.purpose))
    parts.append(heading + "\n" + _table(rows))
    if not command.stages:
        stages = ", ".join(name for name, known in COMMANDS.items() if len(known.stages))
        parts.append(f"The keys of a stage: dolma-pipeline COMMAND --help, for {stages}. All keys: docs/recipes.md.")
    return parts


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    """Columns two blanks apart, the last one as it is."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]) - 1)]
    cells = [[cell.ljust(width) for cell, width in zip(row, widths, strict=False)] + [row[-1]] for row in rows]
    return "\n".join("  " + "  ".join(line).rstrip() for line in cells)
