"""From sound to arrays: decoding, front ends, beats. librosa only through :mod:`d2m.music.compiled`. No networks."""
