"""The protocol: tasks put to a model or to saved samples, what is measured of them, and the
records it leaves.
"""
