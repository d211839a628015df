"""dedupe: which documents are copies of each other, and which of them stays; which stretches of text stand twice.
Marks, removes nothing.

    stage    how it is put together                         steps    the recipe's steps, by what they do
    kinds    what a step marks, and how: `DedupeKind`, `CopyKind`, `TextKind`; span_kinds: `SpanKind`; ours are kind_…

Copies, in the order of the work:
    sign, column_keys  keys of texts, of columns            edges    pairs with equal keys
    cluster  what the pairs connect                         unkeyed  documents without a key
    sets     shingles of documents in buckets               candidates   who may stay, and the order
    verify   the first pairs, compared                      likeness how like documents are
    elect    who stays; the rules of that: election         looks    what the election shows
    write    the columns, a file a shard                    check    the last check, of what was written

Repeats: repeats says what belongs to them (units, runs, seen, mark_units, write_spans, ranges, ...).
A fixed set: against_units (what of a text is held against it), against_set (the set).

Documents are numbered densely over all shards in order; the number lives only in files of this stage.
"""
