"""From a song to z_dan to poses: the networks' player, noise as an argument, one song's dance, many songs' latents."""
