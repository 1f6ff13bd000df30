"""The command line, one file a command; nothing here imports torch before a command needs it."""

from biglearn_gan.cli.app import main

__all__ = ["main"]
