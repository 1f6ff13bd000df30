"""A trained model on people's files: inputs, batched sampling, classification and outputs."""
