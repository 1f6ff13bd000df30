"""The command line, one file per command; it loads torch only when a command needs it."""

from biglearn_gan.cli.app import main

__all__ = ["main"]
