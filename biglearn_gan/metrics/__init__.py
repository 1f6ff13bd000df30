"""Metrics of images, and the networks that they need; nothing here knows a generative model."""
