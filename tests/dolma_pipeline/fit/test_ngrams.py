"""Models of byte n-grams against the formula, worked out with dictionaries."""

from __future__ import annotations

import math
from collections import Counter as Plain

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline.documents import Batch
from dolma_pipeline.fit import ngrams as module
from dolma_pipeline.fit.ngrams import PLAIN_DISCOUNTS, Counter, Smoothed, discounts, smoothed
from dolma_pipeline.kernels.byte_ngrams import ByteNgrams

TEXTS = st.lists(st.text("ab c\nä😀", max_size=25), min_size=1, max_size=6).filter(any)


def counts_of(texts: list[str], order: int) -> list[Plain[bytes]]:
    """n-gram -> count, by length; of shorter ones, the bytes that they are seen behind."""
    longest: Plain[bytes] = Plain()
    for text in texts:
        padded = b"\n" * (order - 1) + text.encode()
        longest.update(padded[end - order : end] for end in range(order, len(padded) + 1))
    found = [longest]
    for _ in range(order - 1):
        found.insert(0, Plain(ngram[1:] for ngram in found[0]))
    return found


def plain(texts: list[str], order: int, min_count: int, context: bytes, byte: int) -> float:
    """The probability of a byte after a context of order - 1 bytes, by the formula."""
    counts = counts_of(texts, order)
    kept: list[set[bytes]] = [set() for _ in range(order + 2)]
    for length in range(order, 0, -1):
        often = {ngram for ngram, count in counts[length - 1].items() if length <= 2 or count >= min_count}
        kept[length] = often | {ngram[:-1] for ngram in kept[length + 1]}

    def probability(length: int) -> float:
        if length == 0:
            return 1 / 256
        seen, before = counts[length - 1], context[len(context) - length + 1 :]
        taken = discounts(np.array(list(seen.values())))
        total = sum(seen[before + bytes([other])] for other in range(256))

        def own(last: int) -> float:
            ngram = before + bytes([last])
            if ngram not in kept[length] or not seen[ngram]:
                return 0.0
            return (seen[ngram] - taken[min(seen[ngram], 3) - 1]) / total

        return own(byte) + (1 - sum(own(other) for other in range(256))) * probability(length - 1)

    return probability(order)


def model(texts: list[str], order: int, max_ngrams: int = 10**6) -> Smoothed:
    counter = Counter(order)
    counter.add(pa.array(texts, pa.string()))
    return smoothed(counter.close(), order, max_ngrams=max_ngrams)


def of_bytes(found: Smoothed, context: bytes) -> list[float]:
    """The probability of each byte after a context."""
    levels, order = found.levels, len(found.levels)
    base = int.from_bytes(context[len(context) - order + 1 :], "big") << 8
    return module._probabilities(levels, np.arange(base, base + 256, dtype=np.uint64)).tolist()


@settings(max_examples=20)
@given(TEXTS, st.integers(2, 4), st.integers(1, 3), st.data())
def test_probabilities_are_those_of_the_formula(
    texts: list[str], order: int, min_count: int, data: st.DataObject
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        counter = Counter(order)
        counter.add(pa.array(texts, pa.string()))
        counts = counter.close()
        real = module._kept
        patch.setattr(module, "_kept", lambda levels, _: real(levels, min_count))
        found = smoothed(counts, order, max_ngrams=10**6)
    padded = b"\n" * (order - 1) + texts[0].encode()
    end = data.draw(st.integers(order - 1, len(padded)))
    context = (
        data.draw(st.sampled_from([padded[end - order + 1 : end], b"zz" + padded[:1] * (order - 3)]))
        if order > 2
        else padded[:1]
    )
    context = context[-(order - 1) :]
    got = of_bytes(found, context)
    for byte in (*b"ab \n\xc3z", *padded[end : end + 1]):
        assert got[byte] == pytest.approx(plain(texts, order, min_count, context, byte), rel=1e-9)


@settings(max_examples=40)
@given(TEXTS, st.integers(2, 7), st.binary(min_size=6, max_size=6))
def test_probabilities_sum_to_one(texts: list[str], order: int, other: bytes) -> None:
    found = model(texts, order, 66_000)
    padded = b"\n" * 6 + texts[0].encode()
    for context in (padded[:6], padded[-6:], other):
        got = of_bytes(found, context)
        assert sum(got) == pytest.approx(1)
        assert min(got) > 0


@settings(max_examples=40, deadline=None)
@given(TEXTS, TEXTS, st.integers(2, 7))
def test_the_kernel_gives_their_logarithms(texts: list[str], others: list[str], order: int) -> None:
    found = model(texts, order)
    batch = Batch.of(others)
    bits = ByteNgrams.of(order, *found.arrays()).bits(batch.text, batch.lines).texts.tolist()
    for text, got in zip(others, bits, strict=True):
        padded = b"\n" * (order - 1) + text.encode()
        expected = [of_bytes(found, padded[: end - 1])[padded[end - 1]] for end in range(order, len(padded) + 1)]
        assert got == pytest.approx(-sum(map(math.log2, expected)), rel=1e-5, abs=1e-5)


@given(TEXTS, st.integers(2, 6), st.integers(1, 3))
def test_nothing_depends_on_order_and_batches(texts: list[str], order: int, cut: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_AT_ONCE", 10)
        counter = Counter(order)
        for at in range(0, len(texts), cut):
            counter.add(pa.array(texts[::-1][at : at + cut], pa.string()))
        counts = counter.close()
    expected = counts_of(texts, order)[-1]
    assert dict(zip(counts.ngrams.tolist(), counts.counts.tolist(), strict=True)) == {
        int.from_bytes(ngram, "big"): count for ngram, count in expected.items()
    }
    assert (np.diff(counts.ngrams.astype(np.int64)) > 0).all()


def test_a_bound_leaves_rare_ngrams_out() -> None:
    rng = np.random.default_rng(1)
    texts = ["".join(chr(97 + letter) for letter in rng.integers(0, 26, 400)) for _ in range(300)]
    whole, some = model(texts, 4), model(texts, 4, 66_000)
    assert whole.min_count == 1
    assert some.min_count > 1
    assert sum(len(level.ngrams) for level in some.levels) <= 66_000 < sum(len(level.ngrams) for level in whole.levels)
    fewer = _one_count_lower(texts, some.min_count - 1)
    assert fewer > 66_000


def _one_count_lower(texts: list[str], min_count: int) -> int:
    counts = counts_of(texts, 4)
    contexts: set[bytes] = set()
    total = 0
    for length in range(4, 1, -1):
        kept = {one for one, count in counts[length - 1].items() if length <= 2 or count >= min_count} | contexts
        contexts, total = {one[:-1] for one in kept}, total + len(kept)
    return total + 256


def test_discounts() -> None:
    counts = np.repeat([1, 2, 3, 4, 9], [40, 20, 12, 8, 5])
    y = 40 / 80
    assert discounts(counts) == pytest.approx((1 - 2 * y * 20 / 40, 2 - 3 * y * 12 / 20, 3 - 4 * y * 8 / 12))
    assert discounts(np.array([1, 2, 3])) == PLAIN_DISCOUNTS  # nothing is seen four times
    assert discounts(np.repeat([1, 2, 3, 4], [1, 1, 9, 1])) == PLAIN_DISCOUNTS  # a negative one
