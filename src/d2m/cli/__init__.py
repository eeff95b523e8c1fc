"""One command, ``d2m``: arguments in, one line of error out. The work itself is in the rooms below."""
