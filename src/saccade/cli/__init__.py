"""The command line: one file a command, each of which parses, calls one library function and answers."""

from saccade.cli.app import main

__all__ = ["main"]
