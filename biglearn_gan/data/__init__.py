"""Image data sets: reading, decoding and splitting them, and the order of training images."""
