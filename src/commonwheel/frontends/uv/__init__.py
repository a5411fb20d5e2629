"""uv's stand-in: a program that is called where a frontend calls uv."""
