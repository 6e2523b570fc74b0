"""What the C core asks of Python: where lines are logged, which exception an error is, what else is in the process."""
