"""What people look at: a finished folder asked for what it holds, and for what other settings would give.

plan     `mix --plan`: what there is, and what would be taken
what_if  `mix --what-if`: rules, budgets, seeds tried on columns alone
clean    `clean`: what in a folder can be removed, and what it costs to have it again
table    the columns of a source beside each other, a cache; `groups` makes them, `columns` hands them out
"""
