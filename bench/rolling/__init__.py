"""Releases under load: three servers behind nginx replaced one after the other, with clients that watch for gaps."""
