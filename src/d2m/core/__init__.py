"""What every room needs: the skeleton and its clock, Gaussians, errors, whole files, seeds, the machine."""
