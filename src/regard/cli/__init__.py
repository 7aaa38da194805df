"""The command line (floor 8): one file a verb, which parses, calls the Python API and prints. No verb imports torch."""

from regard.cli.app import main

__all__ = ["main"]
