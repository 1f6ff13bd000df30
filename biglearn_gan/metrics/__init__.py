"""Metrics of images, which know no model: distances, neighbors, labels, and the classifiers they
are taken with.
"""
