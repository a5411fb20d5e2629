"""The commands of the command line, one module each; strangers to each other."""
