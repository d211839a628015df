"""Which clusters are held out: the same as by sorting all keys of every source, without doing so."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline.config.recipe import HeldOutConfig
from dolma_pipeline.stages.mix.planning import KEY_END, MixPlan, Selection, _hold_out

DOCUMENT = st.tuples(
    st.sampled_from([n * (KEY_END // 12) + 5 for n in range(12)]), st.integers(0, 40), st.integers(0, 90)
)
SOURCES = st.dictionaries(st.sampled_from("abc"), st.lists(DOCUMENT, max_size=25), min_size=1)
BOUND = st.none() | st.integers(1, 300)


def plainly(sources: dict[str, list[tuple[int, int, int]]], config: HeldOutConfig) -> dict[str, set[int]]:
    """Source -> keys of clusters that are held out there."""
    held, bounded = {}, {}
    for name, documents in sources.items():
        keys = sorted({key for key, _, _ in documents})
        below = [key for key in keys if key < int(config.share * KEY_END)]
        if not below and len(keys) > 1:
            below = keys[:1]
        for place, most in ((1, config.max_tokens), (2, config.max_bytes)):
            if most is not None:
                sums = [sum(d[place] for d in documents if d[0] <= key) for key in below]
                below = [key for key, total in zip(below, sums, strict=True) if total <= most]
        held[name], bounded[name] = set(below), [key for key in keys if key not in below]
    for name in held:  # where one source has reached its bound, the cluster is spared in the others too
        held[name] -= {key for other in sources if other != name for key in bounded[other]}
    return held


@settings(max_examples=300, deadline=None)
@given(sources=SOURCES, share=st.sampled_from([0.01, 0.2, 0.5, 0.9]), tokens=BOUND, size=BOUND)
def test_as_by_sorting_everything(
    sources: dict[str, list[tuple[int, int, int]]], share: float, tokens: int | None, size: int | None
) -> None:
    config = HeldOutConfig(share=share, max_tokens=tokens, max_bytes=size)
    selections = {}
    for name, documents in sources.items():
        keys, sizes, counts = ([d[i] for d in documents] for i in (0, 2, 1))
        held = np.array(keys, np.uint64)
        selections[name] = Selection(held, held, np.array(counts, np.int64), np.array(sizes, np.int64))
    cuts, spared = _hold_out(selections, config)
    plan = MixPlan({}, cuts, spared)
    expected = plainly(sources, config)
    for name, one in selections.items():
        assert set(one.held_keys[plan.is_held(name, one.held_keys)].tolist()) == expected[name]
