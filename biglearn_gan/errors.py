"""Errors that a user can mend: one sentence each, and the exit code of a command that ends with it.

The exit code is 2 if something that the user named is wrong: an option, a value, or a file, folder,
data set or model that is missing or cannot be used. It is 1 if something else fails: a download, a
full or protected disk, a package that is not installed, a network that diverges.

Every such error of the package is a subclass, so that the command line tells them from bugs without
importing the modules (and torch) that raise them.
"""

from __future__ import annotations


class UserError(Exception):
    """Something outside the program is wrong. By default, nothing that the user named."""

    exit_code = 1


class UsageError(UserError, ValueError):
    """A value that the user gave is not allowed."""

    exit_code = 2
