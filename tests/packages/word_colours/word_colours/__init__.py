"""An example of a package that brings taggers: a word list, a model that is loaded once, an entry point."""
