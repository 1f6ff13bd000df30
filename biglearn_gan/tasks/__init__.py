"""Tasks: source and target tokens, patterns and holes, and the task distribution q(S, T)."""
