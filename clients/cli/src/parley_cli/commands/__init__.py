"""The commands of `parley`, one module each."""
