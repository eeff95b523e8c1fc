"""All edits of z_dan: directions, their files and strengths, the optimiser, and requests for edits."""
