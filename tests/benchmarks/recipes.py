"""The recipe that whole runs are measured with, as each state of the program takes it.

The built-in taggers (language on the first 2,000 characters, phone numbers of the US), exact and near duplicates, a
tokenizer that is given, mix, tokens. The longest of copies stays, as it did before without being asked.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from before import Program

WORDS = "gopher_v1.word_count BETWEEN {least} AND 100000"
PII = "len(pii_v1.email) + len(pii_v1.phone) + len(pii_v1.ip) <= {most}"

RECIPE = """\
name: bench
output: {output}
sources:
{sources}
tag:
  taggers:
    - language_v1
    - gopher_v1
    - c4_v1
    - {{tagger: pii_v1, phone_regions: [US]}}
    - length_v1
dedupe:
{prefer}  steps:
    - {{name: exact, kind: exact}}
    - {{name: minhash, kind: minhash}}
tokenizer: {{load: {tokenizer}}}
mix:
  where:
    english: language_v1.en >= 0.5 OR source = 'code'
    words: {words}
    pii: {pii}
    unique: exact.keep AND minhash.keep
  replace:
    - {{spans: pii_v1.email, with: " |||EMAIL_ADDRESS||| "}}
    - {{spans: pii_v1.phone, with: " |||PHONE_NUMBER||| "}}
    - {{spans: pii_v1.ip, with: " |||IP_ADDRESS||| "}}
  held_out: {{share: 0.01, max_tokens: 100k}}
{documents}tokens: {{}}
"""

OTHER_THRESHOLDS = (f"mix.where.words={WORDS.format(least=46)}", f"mix.where.pii={PII.format(most=6)}")
"""Two rules whose numbers are a little looser: some documents more pass."""


def write(
    path: Path,
    sources: Mapping[str, Sequence[str]],
    tokenizer: Path,
    *,
    output: Path,
    program: Program,
    documents: bool = False,
) -> Path:
    """Write the recipe of a run.

    Args:
        path: where to. sources: name -> globs. tokenizer: a tokenizer.json. output: the run's folder.
        program: whose keys are written. documents: whether edited documents are written (the program before always
            writes them).
    """
    lines = [
        f"  {name}: {{documents: {json.dumps([str(Path(p).absolute()) for p in sources[name]])}}}" for name in sources
    ]
    content = RECIPE.format(
        output=output.absolute(),
        sources="\n".join(lines),
        tokenizer=tokenizer.resolve(),
        prefer="" if program.is_old else "  prefer: [chars DESC]\n",
        documents="" if program.is_old else f"  documents: {str(documents).lower()}\n",
        words=WORDS.format(least=50),
        pii=PII.format(most=5),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
    return path
