"""Use a trained model on files: read inputs, sample in batches, classify, write outputs."""
