"""A user's module with two further mixes, one of them with token parts, and a tagger whose spans they edit."""

from __future__ import annotations

import re

import dolma_pipeline as dp
from dolma_pipeline.stages.mix.named import register_mix


@dp.tagger("ats_v1", fields={"names": list[dp.Span], "digits": float})
def ats(doc: dp.Document) -> dp.Attributes:
    """Names (@somebody), and how many digits."""
    names = [dp.Span(m.start(), m.end()) for m in re.finditer(r"@\w+", doc.text)]
    return {"names": names, "digits": float(sum(c.isdigit() for c in doc.text))}


register_mix("small", tokens="tokens_small")
register_mix("other")
