"""Lightning callbacks and loggers: the only code that knows W&B."""
