"""Every edit of z_dan: directions, their files and strengths, the optimiser, and the request that builds one."""
