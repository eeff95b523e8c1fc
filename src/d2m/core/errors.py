"""User errors, which the command line prints as one line with exit code 2, and the end of a pruned trial."""


class D2MError(Exception):
    """Something the user can fix. The message is one line that names the problem and the fix."""

    def __str__(self) -> str:
        """On one line, whatever a file's own text that it quotes may hold."""
        return " ".join(super().__str__().splitlines())


class Pruned(Exception):
    """A sweep gave a trial up, because earlier ones were better at the same point: no fault, and no result either."""
