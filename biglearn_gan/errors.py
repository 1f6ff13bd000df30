"""Errors that a user can mend: one sentence each, and the exit code of a command that ends with it.

Every such error of the package is a subclass, so that the command line tells them from bugs without
importing the modules (and torch) that raise them.
"""

from __future__ import annotations


class UserError(Exception):
    """Something outside the program is wrong: a file, a folder, a device, a run."""

    exit_code = 1


class UsageError(UserError, ValueError):
    """A value that the user gave is not allowed."""

    exit_code = 2
