"""`mix`: the stage; with --plan or --what-if a look at finished work, from columns alone."""

from __future__ import annotations

import json

from dolma_pipeline.cli import run
from dolma_pipeline.cli.arguments import Arguments, Reply
from dolma_pipeline.errors import UsageError

PLAN, WHAT_IF = "--plan", "--what-if"


def main(arguments: Arguments) -> Reply:
    """Run the stage, or look.

    Raises:
        UsageError: options that do not go together; the folder is not as far; a rule that columns cannot answer.
        DolmaError: whatever the run raises.
    """
    changes = arguments.values.get(WHAT_IF, ())
    looks = [*([PLAN] if PLAN in arguments.flags else []), *([WHAT_IF] if changes else [])]
    if not looks:
        return run.main(arguments)
    others = [option for option in ("--redo", "--dry-run", "--attach", "--cancel") if option in arguments.flags]
    if len(looks) + len(others) > 1 or arguments.beam_options:
        together = " and ".join([*looks, *others, *(["Beam options"] if arguments.beam_options else [])])
        raise UsageError(f"found {together}; {looks[0]} only looks at what there is and goes alone")
    recipe = run.open_for(arguments)
    from dolma_pipeline.look.text import plan_text, what_if_text

    if changes:
        from dolma_pipeline.look.what_if import what_if

        tried = what_if(recipe, changes)
        record, text = tried.record, what_if_text(tried) if arguments.format == "text" else ""
    else:
        from dolma_pipeline.look.plan import plan

        planned = plan(recipe)
        record, text = planned.record, plan_text(planned) if arguments.format == "text" else ""
    return Reply(json.dumps(record(), indent=2, ensure_ascii=False) + "\n" if arguments.format == "json" else text)
