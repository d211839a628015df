"""The signature kernel against a plain Python twin, and against datasketch given the same shingle hash."""

from __future__ import annotations

import gzip
import re
import unicodedata
from functools import cache
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
import pytest
from datasketch import MinHash
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline.documents import Batch, text_buffers
from dolma_pipeline.kernels import minhash
from dolma_pipeline.kernels.minhash import ALONE, JOINS, fold_table, hash_bands, sign, warm
from dolma_pipeline.kernels.unicode import UNSPACED_BLOCKS

M64 = 2**64 - 1


def is_unspaced(char: str) -> bool:
    return any(first <= ord(char) <= last for first, last in UNSPACED_BLOCKS)


def words_of(text: str) -> list[str]:
    """The words, a character at a time: a letter of an unspaced script with its marks, or a run of `\\w`."""
    words, grows = [], ""  # grows: "run", "letter" or ""
    for char in text:
        kind = unicodedata.category(char)
        if is_unspaced(char) and kind in ("Lo", "Lm", "Nl"):
            words.append(char)
            grows = "letter"
        elif is_unspaced(char) and kind in ("Mn", "Mc") and grows == "letter":
            words[-1] += char
        elif not re.match(r"\w", char):
            grows = ""
        elif grows == "run":
            words[-1] += char
        else:
            words.append(char)
            grows = "run"
    return words


def mix(x: int) -> int:
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 & M64
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB & M64
    return x ^ (x >> 31)


@cache
def hash_word(word: str) -> int:
    raw = "".join(c.lower() for c in word).encode()
    h = 0
    whole = len(raw) // 8 * 8
    for i in range(0, whole, 8):
        h = mix(h ^ int.from_bytes(raw[i : i + 8], "little"))
    return mix(((h ^ int.from_bytes(raw[whole:], "little")) + len(raw) * 0x9E3779B97F4A7C15) & M64)


def hash_shingle(words: list[str]) -> int:
    value = 0
    for word in words:
        value = (value * 0xA0761D6478BD642F + hash_word(word)) & M64
    return mix(value) >> 32


def shingles(text: str, size: int) -> list[list[str]]:
    words = words_of(text)
    if len(words) < size:
        return [words] if words else []
    return [words[i : i + size] for i in range(len(words) - size + 1)]


def oracle(text: str, size: int, num_perm: int, seed: int) -> np.ndarray:
    signature = MinHash(num_perm, seed, hashfunc=hash_shingle)
    signature.update_batch(shingles(text, size))
    return signature.hashvalues


def permutations(num_perm: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    a, b = MinHash(num_perm, seed).permutations
    return a, b


def assert_equal_to_datasketch(texts: list[str], *, size: int = 5, num_perm: int = 112, seed: int = 1) -> None:
    minima, signed = sign(Batch.of(texts).text, *permutations(num_perm, seed), shingle=size)
    assert minima.dtype == np.uint32
    assert signed.tolist() == [bool(words_of(text)) for text in texts]
    for row, text in enumerate(texts):
        np.testing.assert_array_equal(minima[row], oracle(text, size, num_perm, seed), err_msg=repr(text))


WORDS = st.sampled_from(
    ["a", "The", "THE", "seven77", "eightchr", "ninechars", "sixteencharacter", "seventeencharact_", "é", "Straße",
     "İstanbul", "ΣΟΦΟΣ", "ǅ", "naïveté", "12345678é", "éabcdefgh", "漢字", "𝔘nicode", "日本語テキスト", "_", "x" * 40,
     "ที่", "ไม่มี", "မြန်မာ", "ភាសាខ្មែរ", "བོད་ཡིག", "ພາສາ", "は\u3099", "ﾊﾟ", "々〇ー", "𠀀𪜀", "한국어",
     "Python漢字3語", "๑๒", "१ि"]
)  # fmt: skip
GAPS = st.sampled_from([" ", "\n", ", ", "  ", "-", "…", "\u00a0", "🙂", "\u0301", "\0", "." * 9, "’",
                        "", "", "。", "\u0e48", "\u3099", "\u200b", "\u1039"])  # fmt: skip


def prose(words: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.lists(st.tuples(words, GAPS), max_size=25).map(lambda pairs: "".join(w + g for w, g in pairs))


@settings(max_examples=150, deadline=None)
@given(st.lists(prose(WORDS) | st.text(max_size=60), max_size=5), st.sampled_from([1, 2, 5, 7]))
def test_equals_datasketch_on_any_unicode(texts: list[str], size: int) -> None:
    assert_equal_to_datasketch(texts, size=size, num_perm=16)


UNSPACED_TEXT = st.text(
    st.sampled_from(UNSPACED_BLOCKS).flatmap(lambda block: st.integers(*block).map(chr)) | st.sampled_from("a é7_. "),
    max_size=40,
)


@settings(max_examples=200, deadline=None)
@given(st.lists(UNSPACED_TEXT, max_size=4), st.sampled_from([1, 2, 5]))
def test_equals_datasketch_on_scripts_without_blanks(texts: list[str], size: int) -> None:
    assert_equal_to_datasketch(texts, size=size, num_perm=8)


def test_every_letter_and_mark_of_these_scripts_alone_and_in_company() -> None:
    """Of each code point: at the start, in a Latin word, after a letter with a mark."""
    points = [chr(p) for first, last in UNSPACED_BLOCKS for p in range(first, min(last, first + 200) + 1)]
    texts = [f"{c} a{c}b{c}{c} ก่{c}" for c in points]
    assert_equal_to_datasketch(["\n".join(texts[i : i + 20]) for i in range(0, len(texts), 20)], size=2, num_perm=64)


@settings(max_examples=100, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60), st.sampled_from([1, 3]))
def test_text_without_their_letters_is_signed_as_ever(text: str, size: int) -> None:
    """The words are `\\w+` then, and their marks, if there are any, end a word."""
    plain = "".join(c for c in text if not (is_unspaced(c) and re.match(r"\w", c) and not c.isdecimal()))
    plain = "".join(c for c in plain if not (is_unspaced(c) and unicodedata.category(c) == "Nl"))
    words = re.findall(r"\w+", plain)
    assert words_of(plain) == words
    assert signature(plain, size) == signature(" ".join(words), size)


@settings(max_examples=100, deadline=None)
@given(prose(st.text(min_size=1, max_size=12)), st.integers(0, 9), st.integers(0, 9))
def test_a_slice_reads_only_its_own_texts(text: str, before: int, after: int) -> None:
    column = pa.array(["x" * before, text, "y" * after], pa.string())
    a, b = permutations(8, 1)
    minima, signed = sign(text_buffers(column.slice(1, 1)), a, b, shingle=3)
    alone, alone_signed = sign(text_buffers(pa.array([text], pa.string())), a, b, shingle=3)
    np.testing.assert_array_equal(minima, alone)
    assert signed.tolist() == alone_signed.tolist()


def test_equals_datasketch_beyond_the_scratch() -> None:
    text = " ".join(f"w{i * i % 9973}" for i in range(9001))
    assert_equal_to_datasketch([text, "short one", text[:20000]], num_perm=8)


@pytest.mark.parametrize("source", ["web", "code", "forum"])
def test_equals_datasketch_on_real_text(data: Path, source: str) -> None:
    lines = gzip.decompress((data / f"documents/{source}/{source}-0000.jsonl.gz").read_bytes()).splitlines()
    assert_equal_to_datasketch([orjson.loads(line)["text"] for line in lines[::10]])


@pytest.mark.slow
def test_equals_datasketch_on_all_real_text(all_texts: list[str]) -> None:
    assert_equal_to_datasketch(all_texts)


@pytest.mark.parametrize("seed", [1, 2, 77])
def test_equals_datasketch_for_other_seeds(seed: int) -> None:
    assert_equal_to_datasketch(["One two three four five six seven.", "Ein zwei"], num_perm=112, seed=seed)


def test_every_code_point_folds_as_python_does() -> None:
    fold, several = fold_table()
    for code_point in range(0x110000):
        char = chr(code_point)
        if is_unspaced(char) and unicodedata.category(char) in ("Lo", "Lm", "Nl"):
            assert fold[code_point] == ALONE
        elif is_unspaced(char) and unicodedata.category(char) in ("Mn", "Mc"):
            assert fold[code_point] == JOINS
        elif not re.match(r"\w", char):
            assert fold[code_point] == 0
        elif len(char.lower()) == 1:
            assert fold[code_point] == ord(char.lower())
        else:
            expanded = several[fold[code_point] - 0x110000]
            assert "".join(map(chr, expanded)).rstrip("\0") == char.lower()


@pytest.mark.parametrize("other", [0x00, 0x61, 0x7F, 0x80, 0xFF])
def test_eight_bytes_at_once_are_the_table(other: int) -> None:
    """Each byte value at each place among others: no byte says anything about its neighbour."""
    fold, _ = fold_table()
    for byte in range(256):
        for place in range(8):
            raw = bytes([other] * place + [byte] + [other] * (7 - place))
            lower, ends = minhash._fold8(np.uint64(int.from_bytes(raw, "little")))
            is_word = byte < 0x80 and fold[byte] != 0
            assert (int(ends) >> (8 * place)) & 0xFF == (0 if is_word else 0x80)
            if is_word:
                assert (int(lower) >> (8 * place)) & 0xFF == fold[byte]


def signature(text: str, size: int = 5) -> list[int]:
    return sign(Batch.of([text]).text, *permutations(112, 1), shingle=size)[0][0].tolist()


def test_case_punctuation_and_repeats_do_not_matter() -> None:
    plain = "the quick brown fox jumps over the lazy dog"
    assert signature("The  QUICK brown,\nfox (jumps) over the lazy dog!") == signature(plain)
    assert signature(" ".join([plain] * 3)) == signature(" ".join([plain] * 7))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("我有3本Python书。", ["我", "有", "3", "本", "Python", "书"]),
        ("二〇二四年、時々コーヒー", ["二", "〇", "二", "四", "年", "時", "々", "コ", "ー", "ヒ", "ー"]),
        ("ที่นี่", ["ที่", "นี่"]),
        ("มี ๑๒ ตัว", ["มี", "๑๒", "ตั", "ว"]),
        ("မြန်မာ", ["မြ", "န်", "မာ"]),
        ("ខ្មែរ", ["ខ្", "មែ", "រ"]),
        ("བོད་ཡིག", ["བོ", "ད", "ཡི", "ག"]),
        ("ພາສາລາວ", ["ພ", "າ", "ສ", "າ", "ລ", "າ", "ວ"]),
        ("は\u3099ば", ["は\u3099", "ば"]),
        ("한국어 띄어쓰기", ["한국어", "띄어쓰기"]),
        ("हिन्दी", ["ह", "न", "द"]),  # as ever: marks of other scripts end a word
        ("a\u0e48b", ["a", "b"]),
        ("葛\U000e0100城", ["葛", "城"]),  # a variation selector is no mark of these scripts
        ("漢a字", ["漢", "a", "字"]),
    ],
)
def test_words_of_scripts_without_blanks(text: str, words: list[str]) -> None:
    """Each word alone is what the words of the text are; a shingle of one word has no neighbours."""
    assert words_of(text) == words
    expected = np.min([signature(word, 1) for word in words], axis=0)
    assert signature(text, 1) == expected.tolist()
    assert signature(text, 5) == signature("。".join(words), 5)


def test_near_duplicates_without_blanks_are_near() -> None:
    """One letter in a hundred replaced: five of a hundred shingles of five letters change."""
    rng = np.random.default_rng(11)
    letters = rng.integers(0x4E00, 0x4E00 + 500, 2000)
    edited = letters.copy()
    edited[::100] = 0x5FFF
    texts = ["".join(map(chr, one)) for one in (letters, edited, rng.integers(0x4E00, 0x4E00 + 500, 2000))]
    minima, _ = sign(Batch.of(texts).text, *permutations(256, 1), shingle=5)
    assert (minima[0] == minima[1]).mean() == pytest.approx((1 - 0.05) / (1 + 0.05), abs=0.08)
    assert (minima[0] == minima[2]).mean() < 0.03


def test_the_final_sigma_does_not_depend_on_its_place() -> None:
    assert "ΟΔΟΣ".lower() != "".join(c.lower() for c in "ΟΔΟΣ")
    assert signature("ΟΔΟΣ", 1) == signature("οδοσ", 1)


def test_the_order_of_words_matters() -> None:
    assert signature("a b") != signature("b a")
    assert signature("a b c d e f") != signature("a b c d f e")


def test_one_text_of_few_words_is_one_shingle() -> None:
    assert signature("a b c") != signature("a b c d")
    assert signature("a b c d e") == signature("a b c d e!")


def test_no_word_has_the_empty_signature() -> None:
    minima, signed = sign(Batch.of(["", " \n", "…!?", "w"]).text, *permutations(4, 1), shingle=5)
    assert signed.tolist() == [False, False, False, True]
    assert (minima[:3] == 0xFFFFFFFF).all()


def test_no_document() -> None:
    minima, signed = sign(Batch.of([]).text, *permutations(4, 1), shingle=5)
    assert minima.shape == (0, 4)
    assert len(signed) == 0


def test_shingles_are_well_mixed() -> None:
    """Similar words give unrelated shingles: no collision among 30,000, and every bit is set half the time."""
    words = [f"w{i}" for i in range(30_000)]
    hashes = np.array([hash_shingle([word]) for word in words], np.uint64)
    assert len(set(hashes.tolist())) >= 30_000 - 2  # 0.1 expected of 32 bits
    shares = [(hashes >> np.uint64(bit) & np.uint64(1)).mean() for bit in range(32)]
    assert max(abs(share - 0.5) for share in shares) < 0.02


def test_bands_equal_their_twin() -> None:
    minima = np.random.default_rng(5).integers(0, 2**32, (7, 12), np.uint32)
    keys = hash_bands(minima, bands=4, rows=3)
    for i in range(7):
        for band in range(4):
            key = mix((0x8EBC6AF09C88C6E3 + band) & M64)
            for p in range(3 * band, 3 * band + 3):
                key = mix(key ^ int(minima[i, p]))
            assert int(keys[i, band]) == key


def test_values_are_pinned_because_they_are_saved() -> None:
    """Signatures outlive a run: whoever changes one of these numbers has made a new format."""
    minima, _ = sign(
        Batch.of(["The quick brown fox jumps over the lazy dog. Ünïcödé"]).text, *permutations(4, 1), shingle=5
    )
    assert minima[0].tolist() == [987554004, 1436570209, 1603139482, 111905049]
    assert hash_bands(minima, bands=2, rows=2)[0].tolist() == [14909677308280154772, 3539149000967297138]
    minima, _ = sign(Batch.of(["我有3本Python书。ที่นี่"]).text, *permutations(4, 1), shingle=5)
    assert minima[0].tolist() == [278435203, 2770312749, 499936359, 629132881]


def test_warm_compiles_what_signing_uses() -> None:
    warm()
    signatures, bands = len(minhash._sign.signatures), len(minhash._hash_bands.signatures)
    minima, _ = sign(Batch.of(["some text", "more"]).text, *permutations(8, 1), shingle=5)
    hash_bands(minima, bands=2, rows=4)
    assert (len(minhash._sign.signatures), len(minhash._hash_bands.signatures)) == (signatures, bands) == (1, 1)
