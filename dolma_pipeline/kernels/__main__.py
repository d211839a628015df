"""`python -m dolma_pipeline.kernels [NAME ...]`: compiles kernels ahead, all or those named, and says what it does."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

from dolma_pipeline.errors import DolmaError
from dolma_pipeline.kernels.compiled import Compiled
from dolma_pipeline.kernels.warm import KERNELS, checked, ensure, warm


def main(arguments: Sequence[str]) -> int:
    """Exit code of the command. `--here` before the names compiles in this process, as one of several."""
    began = time.perf_counter()
    here, names = arguments[:1] == ["--here"], [one for one in arguments if one != "--here"]
    try:
        wanted = checked(names or KERNELS)
        if here:
            compiled = Compiled()
            for name in [name for name in names if name in wanted]:  # in the order given
                warm([name])
                compiled.mark(name)
            return 0
        ensure(wanted, say=lambda line: print(line, flush=True))
    except DolmaError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print(f"kernels are ready, {len(wanted)} of {len(KERNELS)}: {time.perf_counter() - began:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
