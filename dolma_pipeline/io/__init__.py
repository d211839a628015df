"""Reading and writing: storage, documents, attributes, manifests. Rows in, rows out; nothing here knows a stage."""
