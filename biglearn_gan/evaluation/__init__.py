"""How good a model is: a classifier, the Fréchet distance in its features, and the protocol."""
