"""dedupe: which documents are copies of each other, and which of them stays. Marks, removes nothing.

    kinds    what makes two documents copies: `DedupeKind`; kind_exact, kind_minhash are ours
    sign     the consumer of kinds that sign texts          edges    pairs with equal keys
    cluster  what the pairs connect                         elect    who stays
    write    the columns, a file a shard                    stage    how it is put together

Documents are numbered densely over all shards in order; the number lives only in files of this stage.
"""
