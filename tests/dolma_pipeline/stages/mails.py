"""A tagger of a user's own, importable: `modules: [tests.dolma_pipeline.stages.mails]`."""

from __future__ import annotations

import re

import dolma_pipeline as dp

MAIL = re.compile(r"\S+@\S+\.org")


@dp.tagger("addresses_v1", fields={"spans": list[dp.Span], "count": int})
def mails(doc: dp.Document) -> dp.Attributes:
    """Addresses."""
    found = [dp.Span(m.start(), m.end()) for m in MAIL.finditer(doc.text)]
    return {"spans": found, "count": len(found)}


MODULE = __name__
