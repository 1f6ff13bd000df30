"""The evaluation protocol: its tasks, its numbers, their records and tables."""
