"""Finding duplicates, without any pipeline: columns in, columns out.

    exact, minhash   keys of a batch's texts; equal keys make two documents copies, or candidates for near copies
    edges            sorted columns of keys -> edges between documents
    components       edges -> clusters
    keep             clusters of exact copies, rules and a preferred order -> who stays
    stars            buckets of near copies, rules, a preferred order, exact likeness -> who stays
    looks            what an election shows: shares, stars, other thresholds -> numbers and warnings
    repeats          equal hashes of stretches of text -> which of them are repeats, joined to spans
    bits             a hash over arrays
    bloom            fixed sets: a Bloom filter of a stated rate, an exact table
    contamination    matches of evaluation items -> marks
    bands            which bands a threshold needs

Rows have dense numbers within a run (the offset of their shard plus their row). No result depends on the order of
shards, edges or work.
"""
