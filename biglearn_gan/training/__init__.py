"""Training: losses, the adversarial step, schedules, and the run that spends a budget."""
