"""Close what the analyser leaves open, in this process: network, silent give-ups, swallowed time-outs, logs with text.

These are settings of other libraries, made in place because they offer no other way. Making them twice does no harm.
"""

from __future__ import annotations

import logging
import sys
import threading
import types
import warnings

import phonenumbers
import tldextract.tldextract
from presidio_analyzer.predefined_recognizers.generic import phone_recognizer

from pipeline.redaction.errors import EngineError
from pipeline.redaction.kinds import base
from pipeline.redaction.kinds.matcher import Matcher
from pipeline.redaction.values import RECOGNISER_ERROR, REGEX_TIMEOUT

_ANALYSER_LOG = "presidio-analyzer"
_TIMEOUT_SETTING = "REGEX_TIMEOUT_SECONDS"


class LogWatch(logging.Handler):
    """Takes the analyser's warnings as doubts about the text in hand.

    Presidio reports a regular expression that ran out of time only by a warning and goes on as if nothing had been
    found. Records are never formatted, because their arguments can hold text.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._seen = threading.local()

    def emit(self, record: logging.LogRecord) -> None:
        """Remember that there was a warning, and of which kind; drop the record."""
        if "timed out" in str(record.msg):
            self._seen.reason = REGEX_TIMEOUT
        elif getattr(self._seen, "reason", None) is None:
            self._seen.reason = RECOGNISER_ERROR

    def reset(self) -> None:
        """Forget this thread's doubts."""
        self._seen.reason = None

    @property
    def doubt(self) -> str | None:
        """Reason code of this thread's doubt since `reset`, or None."""
        reason: str | None = getattr(self._seen, "reason", None)
        return reason

    def is_listening(self) -> bool:
        """Whether a warning would reach us: somebody may have configured logging anew."""
        log = logging.getLogger(_ANALYSER_LOG)
        return self in log.handlers and not log.disabled and log.isEnabledFor(logging.WARNING)


_WATCH = LogWatch()


def harden(regex_timeout_s: float) -> LogWatch:
    """Make the analyser's libraries safe in this process.

    Args:
        regex_timeout_s: processor time that one pattern may take on one text.

    Returns:
        The watch that tells whether the analyser doubted something.

    Raises:
        EngineError: if a place that has to be set is not where it is known to be (another version of a library).
    """
    # Never the network and never a file: the list of suffixes is the one that came with the pinned package.
    extractor = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)
    extractor("example.com")  # reads the list now, and not within the time of the first text's pattern
    tldextract.tldextract.TLD_EXTRACTOR = extractor
    # Stock gives up in silence after 65,535 bad candidates; time is bounded by the worker's deadline instead.
    phone_recognizer.phonenumbers = types.SimpleNamespace(
        PhoneNumberMatcher=Matcher,
        parse=phonenumbers.parse,
        region_code_for_number=phonenumbers.region_code_for_number,
    )
    if set_regex_timeout(regex_timeout_s) < 2:
        raise EngineError("presidio-analyzer keeps its regex time-out elsewhere than known; install the locked version")
    log = logging.getLogger(_ANALYSER_LOG)
    log.handlers = [_WATCH]
    log.propagate = False
    log.setLevel(logging.WARNING)
    log.disabled = False
    warnings.filterwarnings("ignore", module=r"(spacy|thinc|presidio_analyzer)\b")
    return _WATCH


def set_regex_timeout(seconds: float) -> int:
    """Set the time-out in each module of the analyser that has one; returns how many there are."""
    holders = [
        module
        for name, module in list(sys.modules.items())
        if name.startswith("presidio_analyzer.") and _TIMEOUT_SETTING in vars(module)
    ]
    for module in holders:
        setattr(module, _TIMEOUT_SETTING, seconds)
    base.SECONDS = seconds
    return len(holders)
