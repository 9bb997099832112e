"""tokentrail: one event per language model call, published to Kafka without ever harming the application."""

from ._version import __version__
from .call import Call
from .stats import Stats
from .trail import Trail

__all__ = ["Call", "Stats", "Trail", "__version__"]
