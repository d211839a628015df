"""What of a sample a BPE tokenizer learns from, and what is told of a sample that serves badly.

GPT-2's pattern cuts a text into pieces: letters, digits, blanks, or anything else. The trainer merges within pieces,
and its time for a piece grows with the square of its length, so no piece may be long. A text without blanks is not the
same as a piece without end: Chinese, Japanese or Thai sets none in a whole paragraph, and is as much text as any.
So two things are done to a text:

Left out: runs of LONGEST and more that no language writes. They are runs of one character, of blanks, and of characters
other than blanks that all lie in the scripts that set blanks (Latin to the scripts of India, with digits and ASCII):
base64, digests, a line drawn with `=`, minified code.
Cut: what is still longer than LONGEST in letters and digits, or without any, such as a paragraph of Chinese without a
comma. Nothing is lost by a cut but the pair of characters that it parts.

Cost: 30 MB of text a CPU-second. Training takes 3 to 5 CPU-seconds for 1 MB of unbroken Chinese, Thai, or
random letters (vocabularies of 4,096 and 32,000), where uncut text takes minutes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

LONGEST = 1000
"""Code points: the longest piece that is trained on, and the shortest run that is left out."""

SHARE_LEFT_OUT = 0.05
"""Above this share of a sample's bytes it is told how much was left out."""

_SPACED = r"[^\s\u0E00-\u1DFF\u2E80-\U0003FFFF]"
_NO_LANGUAGE = re.compile(
    rf"(?<!{_SPACED}){_SPACED}{{{LONGEST},}}|(?<!\s)\s{{{LONGEST},}}|(?P<one>\S)(?P=one){{{LONGEST - 1},}}"
)
_LONG = re.compile(rf"(?<![^\W_])[^\W_]{{{LONGEST + 1},}}|(?<![\W_])[\W_]{{{LONGEST + 1},}}")

_MARKS = re.compile(rf"[\W_]{{{LONGEST}}}")


class Sample:
    """The texts as they are trained on, read once and in order; then, how much of them that was.

    num_texts, num_bytes: of the texts given, in UTF-8. num_bytes_left_out: of `num_bytes`, what is not trained on.
    Added tokens are neither: the trainer would read them as text.
    """

    def __init__(self, texts: Iterable[str], added_tokens: Sequence[str] = ()) -> None:
        self._texts = texts
        longest_first = sorted(added_tokens, key=lambda token: (-len(token), token))
        self._added = re.compile("|".join(map(re.escape, longest_first))) if added_tokens else None
        self.num_texts = 0
        self.num_bytes = 0
        self.num_bytes_left_out = 0

    def __iter__(self) -> Iterator[str]:
        for text in self._texts:
            self.num_texts += 1
            self.num_bytes += len(text.encode())
            for part in self._added.split(text) if self._added else (text,):
                yield from self._pieces(part)

    def _pieces(self, text: str) -> Iterator[str]:
        if not _holds_long_run(text):
            yield text
            return
        start = 0
        for run in _NO_LANGUAGE.finditer(text):
            self.num_bytes_left_out += len(run[0].encode())
            yield from cut_long(text[start : run.start()])
            start = run.end()
        yield from cut_long(text[start:])

    @property
    def is_empty(self) -> bool:
        """Whether there was no text to train on at all."""
        return self.num_bytes == self.num_bytes_left_out

    def why_empty(self) -> str:
        """What to say of an empty sample."""
        if self.num_bytes == 0:
            return "no text to train a tokenizer on: the sample is empty"
        return (
            f"no text to train a tokenizer on: all {self.num_bytes:,} bytes of the sample ({self.num_texts:,} "
            f"documents) were left out, because {_REASON}. Train on other documents: look at mix.where"
        )

    def warnings(self, *, vocab_size: int, num_ids: int) -> list[str]:
        """What a user should know of this sample and of what came of it, a sentence or two each.

        Args:
            vocab_size: ids that were asked for.
            num_ids: ids that the trained tokenizer has.
        """
        sentences = []
        share = self.num_bytes_left_out / max(1, self.num_bytes)
        if share > SHARE_LEFT_OUT:
            sentences.append(
                f"{self.num_bytes_left_out:,} of the {self.num_bytes:,} bytes of the tokenizer's sample "
                f"({100 * share:.1f} %) were left out, because {_REASON}. If they should not be in the corpus either, "
                "drop their documents by a rule in mix.where"
            )
        if num_ids < vocab_size:
            sentences.append(
                f"the tokenizer has {num_ids:,} entries; tokenizer.vocab_size asks for {vocab_size:,}. Its sample "
                f"({self.num_bytes - self.num_bytes_left_out:,} bytes of {self.num_texts:,} documents) holds too few "
                "different words that occur twice. Give it more text (tokenizer.sample_bytes, mix.where, more "
                "documents) or ask for fewer entries"
            )
        return sentences


_REASON = (
    f"they are runs of {LONGEST:,} characters and more that no language writes: without a blank (base64, digests), "
    "of one character, or of blanks"
)


def _holds_long_run(text: str) -> bool:
    """Whether something might be left out of a text or cut; a third of the cost of looking for it."""
    return any(len(run) >= LONGEST for run in text.split()) or _MARKS.search(text) is not None


def cut_long(text: str) -> Iterator[str]:
    """The text in parts, so that none holds a piece of more than LONGEST + 1 code points; joined they are the text.

    One more than LONGEST, because GPT-2's pattern takes a blank before a word into its piece.
    """
    cuts = [0]
    for run in _LONG.finditer(text):
        cuts += range(run.start() + LONGEST, run.end(), LONGEST)
    yield from (text[start:end] for start, end in pairwise([*cuts, len(text)]) if end > start)
