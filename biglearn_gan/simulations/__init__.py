"""Gaussian mixtures fitted in closed form: why learning from many tasks helps."""
