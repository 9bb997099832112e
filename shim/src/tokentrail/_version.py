"""The version, in one place; it must agree with the distribution's metadata (a test holds this)."""

__version__ = "0.1.0"
LIBRARY = f"tokentrail-python/{__version__}"
