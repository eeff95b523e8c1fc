"""Lightning callbacks and loggers: the only code that uses W&B."""
