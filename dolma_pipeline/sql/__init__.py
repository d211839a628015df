"""Filters and orders in SQL over columns, evaluated by DuckDB: `Rules` decide who passes, `Order` who comes first.

Expressions only: what a rule says of a document depends on that document's columns and on nothing else.
"""

from dolma_pipeline.sql.expressions import column_names
from dolma_pipeline.sql.order import Order
from dolma_pipeline.sql.rules import Rules, Verdict, split_where

__all__ = ["Order", "Rules", "Verdict", "column_names", "split_where"]
