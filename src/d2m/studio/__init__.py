"""The studio: a local page that shows, sounds and edits dances, its server, and the state that both and files share.

What a dance is made of is below (:mod:`d2m.dance`, :mod:`d2m.edits`); the command is :mod:`d2m.cli.studio`.
"""
