"""What people look at: a finished folder asked for what it holds, and for what other settings would give.

plan     `mix --plan`: what there is, and what would be taken
what_if  `mix --what-if`: rules, budgets, seeds tried on columns alone
explain  `explain`: one document, its rules, and why it is a copy; word_diff, explain_text show it
index    `index`: a table beside token parts; parts, part_documents say which there are, and of which documents
find     `find`: where a text stands in such parts; find_text shows it
repeats  steps that mark repeats, under other rules
clean    `clean`: what in a folder can be removed, and what it costs to have it again
table    the columns of a source beside each other, a cache; `groups` makes them, `columns` hands them out
"""
