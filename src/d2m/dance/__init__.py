"""From songs to z_dan to poses: DanceGenerator, Dancer, noise as an argument, dances, latents of many songs."""
