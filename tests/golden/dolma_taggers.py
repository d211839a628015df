"""What Dolma's own taggers say of some texts: run this where `dolma` 1.2.1 is installed, not in the tests.

    python tests/golden/dolma_taggers.py                            writes dolma_taggers.json beside this file
    python tests/golden/dolma_taggers.py DOCUMENTS.jsonl OUT.jsonl  the same for the texts of a file, a line each

Without arguments the list of naughty words is the made-up one below, so that no test needs the real one.
Dolma looks for a model of nltk when it is imported: an empty folder `tokenizers/punkt` in $NLTK_DATA is enough.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

HERE = Path(__file__).parent
NAUGHTY = ["darn", "heck", "🖕", "holy moly", "2 bad eggs", "kick the bucket"]
TAGGERS = {"gopher": "gopher_v2", "c4": "c4_v2", "pii": "pii_regex_with_counts_fast_v2"}
TEXTS = [
    "",
    " \n\n ",
    "\n",
    "\n\na\n\n",
    "word",
    "The be to of and that have with the THE Be (that) of.",
    "The ferry leaves at nine. The ferry leaves at nine. The ferry leaves at nine.\nThe ferry leaves at nine.",
    "same line\n" * 5 + "other line",
    "\n- one\n* two\n• three\n - four\nand so on…\nand so on...\nmore …\n\n",
    "# heading #tag … and … and... x",
    "one two three four five six seven eight nine ten eleven twelve " * 3,
    "a b a b a b c d c d c d e f e f",
    "x y x y z w z w",
    "It ends well.\nIt does not end\nToo few.\n\n  \nDoes it? \"Yes!\"\n“Curly quotes”\n",
    "function() { return javascript; }\nLorem ipsum dolor sit amet.",
    "JavaScript LOREM IPSUM {",
    "Oh darn it, what the heck.",
    "darning needles, heckle, holymoly",
    "so HOLY MOLY, they kicked",
    "we kick the buckets and 2 bad eggs",
    "Kic\u212a the buc\u212aet", "\u212aick the bucket", "dar\u212a 🖕",
    "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich. Zwölf Boxkämpfer!",
    "视野无限广，窗外有蓝天。\n视野无限广，窗外有蓝天。\n天 地 天 地",
    "İstanbul'da\nİzmir'de iki satır\nson satır.",
    "Съешь ещё этих мягких французских булок, да выпей чаю. Съешь ещё этих мягких булок.",
    "Mail jo@example.org now, or (ann.b@mail.example.com), or: zoe@x.io. The end: last@example.org",
    "a@b.c@d.e f @x.y (@b.c ,@b.c ..@b.c. x@y z@.a b@c.d\u00a0e e@f.g\n@h.i",
    "Call 212 555 0100 or (212) 555-0100, +1 212.555.0100 or 2125550100.\n212-555-0100 starts a line\n tel 12125550100",
    "call ١٢٣ 456 7890 and   123 - . 456-7890",
    "Hosts 192.0.2.7, 999.1.1.1, 1.2.3.4.5 and 256.256.256.256; v1.2.3.4-5, 10.0.0.1:80 at 10.0.0.300",
    "why? " * 3_000 + "mail a@b.c",
    "why? " * 11_000 + "mail a@b.c ",
    "\x00 \x1c a \x85 b \u2028 c\u200bd \ufeff",
    "x" * 300 + " " + "y" * 300 + " z",
    "e\u0301 \U0001f600 \U0001f469\u200d\U0001f469\u200d\U0001f467 flag",
]  # fmt: skip


def made_up(number: int) -> list[str]:
    """Texts of few words in random order, so that many n-grams, lines and ties repeat."""
    chance = random.Random(17)
    texts = []
    for _ in range(number):
        words = ["the", "of", "a", "b#", "cc…", "-", "*", "Übung", "darn", "holy moly", "x@y.z", "212 555 0100", "{"]
        pieces = chance.sample(words, chance.randint(1, 6))
        blanks = [" ", " ", " ", "\n", "\n\n", ". ", ".\n", "\t"]
        count = chance.randint(1, 60)
        texts.append("".join(chance.choice(pieces) + chance.choice(blanks) for _ in range(count)))
    return texts


def all_texts() -> list[str]:
    """The texts of dolma_taggers.json, a line each there."""
    return TEXTS + made_up(25)


def answers(texts: list[str], naughty: list[str] | None) -> list[dict[str, dict[str, object]]]:
    """For each text what the three taggers write: type -> [[start, end, score], …]."""
    from dolma import taggers  # noqa: F401 registers them
    from dolma.core.data_types import InputSpec
    from dolma.core.registry import TaggerRegistry
    from dolma.taggers import c4

    if naughty is not None:
        c4.NAUGHTY_WORDS = {one for one in naughty if " " not in one}
        c4.NAUGHTY_PHRASES = {one for one in naughty if " " in one}
    made = {name: TaggerRegistry.get(tagger)() for name, tagger in TAGGERS.items()}
    rows = []
    for text in texts:
        row = InputSpec(id="", text=text)
        rows.append({name: tagger.tag(row) for name, tagger in made.items()})
    return rows


def main() -> None:
    """See this file's first lines."""
    if len(sys.argv) == 1:
        rows = answers(all_texts(), NAUGHTY)
        lines = ",\n".join(json.dumps(row, separators=(",", ":")) for row in rows)
        (HERE / "dolma_taggers.json").write_text(f"[\n{lines}\n]\n")
        return
    given, out = map(Path, sys.argv[1:])
    with given.open() as lines, out.open("w") as file:
        for line in lines:
            (row,) = answers([json.loads(line)["text"]], None)
            file.write(json.dumps(row, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
