"""The version of this distribution, kept apart so that reading it loads nothing."""

__version__ = "0.1.0"
