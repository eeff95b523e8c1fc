"""The one exception for user errors: the command line prints it as one line and exits with 2."""


class D2MError(Exception):
    """Something the user can fix. The message is one line that names the problem and the fix."""

    def __str__(self) -> str:
        """On one line, whatever a file's own text that it quotes may hold."""
        return " ".join(super().__str__().splitlines())


class Pruned(Exception):
    """A sweep gave a trial up, because earlier ones were better at the same point: no fault, and no result either."""
