"""Image data sets: reading, decoding and splitting them, and the order in which training visits
them.
"""
