"""`index RUN`: a table beside token parts, so that `find` can look texts up in them."""

from __future__ import annotations

import json

from dolma_pipeline.cli.arguments import Arguments, Reply
from dolma_pipeline.errors import UsageError


def main(arguments: Arguments) -> Reply:
    """Make the index.

    Raises:
        UsageError: no folder was named, the extra is missing, or nothing can be indexed there.
        DataError: parts that are not what they should be.
    """
    from dolma_pipeline.look.find_text import index_text
    from dolma_pipeline.look.index import make_index

    if len(arguments.words) != 1:
        raise UsageError(
            f"'index' takes one folder, of a run or of token parts; found {len(arguments.words)}: "
            "dolma-pipeline index runs/quickstart"
        )
    (place,) = arguments.words
    tokenizer, eos, dtype = (arguments.values.get(name, (None,))[-1] for name in ("--tokenizer", "--eos", "--dtype"))
    manifest, is_new = make_index(place, tokenizer=tokenizer, eos=eos, dtype=dtype)
    if arguments.format == "json":
        return Reply(json.dumps({**manifest, "made_now": is_new}, indent=2, ensure_ascii=False) + "\n")
    return Reply(index_text(place, manifest, is_new=is_new))
