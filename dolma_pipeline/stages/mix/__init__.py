"""mix: filter, mask, sample to a budget. Verdicts and choices are columns; text is read to encode and to write.

decide   all rules of all documents: verdicts, and who is dropped and why
measure  the sizes of the documents that pass, by the consumer that encodes them
plan     how much of each source: one cut of the keyed order (pure: `planning`)
write    what was chosen: columns, edited documents, held-out documents
stage    how it is put together
"""
