"""Gaussian mixtures fitted in closed form, to show why learning from many tasks helps."""
