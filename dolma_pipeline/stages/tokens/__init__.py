"""tokens: parts of ids, shuffled by key over all sources; train and, apart, each source's held-out documents.

cut    where each split is cut into parts, and which documents are in which, in order (one task)
parts  the parts: gathered from the kept ids, written as OLMo-core reads them (a task a part)
stage  how it is put together
"""
