"""The command ``d2m``: parses arguments and reports user errors on one line. The work is done by the other packages."""
