"""Arrays of poses: kinematics, dance units, beat alignment, cameras. No files and no networks."""
