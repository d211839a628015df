"""decontaminate: in which documents items of evaluation sets stand. Marks, removes nothing.

benchmarks   the files of the recipe's benchmarks, and their items       items    the items' words, for all workers
match        the consumer: what of items stands in each document         mark     the column, from matches alone
report       which items were found, and where                           stage    how it is put together
"""
