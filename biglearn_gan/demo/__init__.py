"""A web page to paint a hole on and see completions (extra ``demo``, gradio)."""
