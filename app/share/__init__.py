"""A link to what is set, and a record opened again."""
