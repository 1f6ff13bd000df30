"""Tasks: source and target tokens, the patterns and holes they come from, and the distribution
q(S, T).
"""
