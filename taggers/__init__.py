"""Built-in taggers, one topic a file; each cites its paper. The library finds them by name (`registry.py`)."""
