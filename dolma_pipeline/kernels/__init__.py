"""Compiled loops over Arrow's UTF-8 buffers: the only place of numba.

    tables     what a kernel reads (TextBuffers) and gives (Tokens); no numba, loads at once
    unicode    classes of all code points, decoding one
    hashing    64-bit hash of a stretch of bytes
    words      text.split()            lines    text.split("\\n") and paragraphs
    spans      byte positions to code points
    gopher     quality columns         repetition   repeated lines, paragraphs and n-grams
    c4         what C4 thinks of each line
    warm       compiles them all ahead (`python -m dolma_pipeline.kernels`)

A kernel is a plain loop, `@njit(cache=True, nogil=True)`, without fastmath; a slow Python twin in the tests says
the same. Arrays go in read-only, as Arrow's buffers are: a writable one would compile a second time. Importing
this package loads nothing; importing one of its modules except `tables` loads numba (0.4 s of CPU).
"""
