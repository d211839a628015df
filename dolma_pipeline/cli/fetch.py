"""`fetch [NAME ...]`: models and word lists into the cache; prints where they are."""

from __future__ import annotations

import json

from dolma_pipeline.cli.arguments import Arguments, Reply


def main(arguments: Arguments) -> Reply:
    """Fetch the named assets, or all.

    Raises:
        UnknownNameError: no such asset; nothing was fetched.
        AssetError: an asset cannot be had.
    """
    from dolma_pipeline.assets import ASSETS, fetch
    from dolma_pipeline.errors import UnknownNameError

    for name in arguments.words:
        if name not in ASSETS:
            raise UnknownNameError("asset", name, ASSETS)
    paths = {name: str(fetch(name)) for name in sorted(set(arguments.words or ASSETS))}
    if arguments.format == "json":
        return Reply(json.dumps(paths, indent=2) + "\n")
    return Reply("".join(f"{name}  {path}\n" for name, path in paths.items()))
