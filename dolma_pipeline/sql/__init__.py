"""Filters and orders in SQL over columns, evaluated by DuckDB: `Rules` decide who passes, `Order` who comes first.

Expressions only: what a rule says of a document depends on that document's columns and on nothing else.
"""

from dolma_pipeline.sql.bits import Bits, count_bits, num_words, pack, unpack
from dolma_pipeline.sql.columns import index_fields, reading_fields, rule_schema, rule_table
from dolma_pipeline.sql.expressions import column_names
from dolma_pipeline.sql.order import Order
from dolma_pipeline.sql.rules import Rules, Verdict, split_where

__all__ = [
    "Bits",
    "Order",
    "Rules",
    "Verdict",
    "column_names",
    "count_bits",
    "index_fields",
    "num_words",
    "pack",
    "reading_fields",
    "rule_schema",
    "rule_table",
    "split_where",
    "unpack",
]
