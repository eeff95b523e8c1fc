"""The studio: a local page that plays and edits dances, its server, and the state shared by page, server and files.

Dances and edits themselves are in :mod:`d2m.dance` and :mod:`d2m.edits`; the command is :mod:`d2m.cli.studio`.
"""
