"""Compiled loops over Arrow's UTF-8 buffers: the only place of numba.

    tables     what a kernel reads (TextBuffers) and gives (Tokens); no numba, loads at once
    jit        numba's decorator, loaded without scipy
    unicode    classes of all code points, decoding one
    hashing    64-bit hash of a stretch of bytes         lanes    eight bytes at a time
    words      text.split()            lines    text.split("\\n") and paragraphs
    spans      byte positions to code points
    gopher     quality columns         repetition   repeated lines, paragraphs and n-grams
    c4         what C4 thinks of each line
    sentences  where they stand, how many   wordlike     how much of a text is words of a language
    fasttext   any fastText classifier      fasttext_header, fasttext_file, fasttext_words, fasttext_losses   its parts
    scan, scan_addresses, scan_codes        where personal data may stand: e-mail, phone, IP, cards, keys…
    intrinsics what processors have and numba lacks
    minhash    signatures and bands         components   what edges join
    sets       sets of shingles compared; who goes of verified pairs
    sorting    hashes in ascending order
    units      lines and paragraphs with hashes              runs   winnowed anchors, runs of words around them
    folded     folded words                 ngrams, ngram_table   where n-grams of given texts stand in others
    json_lines, json_strings, json_values   documents from JSON lines
    byte_ngrams, byte_ngrams_file   how expected a text is, by a model of n-grams of bytes
    edit       texts with spans replaced
    warm       compiles them ahead (`python -m dolma_pipeline.kernels`), and names them
    compiled   what of them is compiled already

A kernel is a plain loop, `@njit(cache=True, nogil=True)`, without fastmath; a slow Python twin in the tests says
the same. Arrays go in read-only, as Arrow's buffers are: a writable one would compile a second time. Importing
this package loads nothing; importing one of its modules except `tables`, `warm` and `compiled` loads numba (0.4 s of
CPU). A new module with kernels has a `warm()` and a line in `warm.KERNELS`.
"""
