"""The one exception for errors of use: the command line prints it as one line and exits with 2."""


class D2MError(Exception):
    """Something the user can mend. The message is one line that names the thing and the fix."""
