"""User errors, which the command line prints as one line with exit code 2, and the exception of pruned trials."""


class D2MError(Exception):
    """Something the user can fix. The message is one line that names the problem and the fix."""

    def __str__(self) -> str:
        """The message on one line, even if it quotes text with line breaks."""
        return " ".join(super().__str__().splitlines())


class Pruned(Exception):
    """A sweep stopped this trial early, because earlier trials were better at the same point. Not an error."""
