"""The one exception for user errors: the command line prints it as one line and exits with 2."""


class D2MError(Exception):
    """Something the user can fix. The message is one line that names the problem and the fix."""


class Pruned(Exception):
    """A sweep gave a trial up, because earlier ones were better at the same point: no fault, and no result either."""
