"""User errors, which the command line prints as one line with exit code 2, and exceptions that sweeps treat apart."""


class D2MError(Exception):
    """Something the user can fix. The message is one line that names the problem and the fix."""

    def __str__(self) -> str:
        """The message on one line, even if it quotes text with line breaks."""
        return " ".join(super().__str__().splitlines())


class Busy(D2MError):
    """Another process trains in this run's folder. A sweep does not count it as a failure of the trial."""


class Pruned(Exception):
    """A sweep stopped this trial early, because earlier trials were better at the same point. Not an error."""
