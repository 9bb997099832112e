"""tokentrail: one event per language model call, published to Kafka without ever harming the application."""

from ._version import __version__
from .anomaly import Anomaly, SuggestedControl
from .call import Call
from .stats import Stats
from .subscription import Subscription, SubscriptionError, subscribe
from .trail import Trail

__all__ = [
    "Anomaly",
    "Call",
    "Stats",
    "Subscription",
    "SubscriptionError",
    "SuggestedControl",
    "Trail",
    "__version__",
    "subscribe",
]
