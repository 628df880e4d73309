"""Erasable: machine learning you can erase from."""

__version__ = "0.1.0"
