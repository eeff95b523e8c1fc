"""Arrays of poses: kinematics, dance units, beats on beats, cameras. No files and no networks."""
