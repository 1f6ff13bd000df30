"""A page on which people paint a hole and see completions (extra ``demo``)."""
