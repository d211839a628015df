"""An S3 store of the tests in a process of its own, so that its work is not counted as ours.

    serve_store.py objects|many         `many`: a bucket of 100,000 keys that are made up

Prints its endpoint; when its standard input ends, how many requests of which kind there were, as JSON.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.dolma_pipeline.storage.fake_store import Handler, serving
from tests.dolma_pipeline.storage.many_keys import ManyKeys

with serving("s3", {"objects": Handler, "many": ManyKeys}[sys.argv[1]]) as server:
    print(server.endpoint, flush=True)
    sys.stdin.read()
    print(json.dumps(dict(server.objects.asked)))
