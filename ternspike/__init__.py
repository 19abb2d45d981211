"""The command line of Ternspike and its report; what stands on all the other packages."""

__version__ = "0.1.0"
