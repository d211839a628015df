"""dedupe: which documents are copies of each other, and which of them stays. Marks, removes nothing.

    kinds    what a step marks, and how: `DedupeKind`; ours are kind_…
    repeats  steps that mark stretches of text: how they are put together
    sign     the consumer of kinds that sign texts          edges    pairs with equal keys
    cluster  what the pairs connect                         elect    who stays
    write    the columns, a file a shard                    stage    how it is put together

Documents are numbered densely over all shards in order; the number lives only in files of this stage.
"""
