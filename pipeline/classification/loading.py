"""Classifiers by what settings call them: `sentiment`, `safety`, `package.module:callable`, or an HTTP endpoint."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import Final

import httpx
import msgspec

from pipeline.classification.port import Answer, Classifier, Classify, Verdict
from pipeline.classification.safety import safety
from pipeline.classification.sentiment import sentiment
from pipeline.errors import UsageError

BUILT_IN: Final[dict[str, Classify]] = {"safety": safety, "sentiment": sentiment}
# An answer of an endpoint that is longer is none.
MOST_BYTES: Final = 65_536


def load(specs: Iterable[str], timeout_s: float) -> list[Classifier]:
    """Classifiers in the order of their specs.

    Raises:
        UsageError: One is not to be had.
    """
    found = [Classifier(spec, _one(spec, timeout_s)) for spec in specs]
    if len({one.spec for one in found}) < len(found):
        raise UsageError("TOKENTRAIL_CLASSIFIERS names a classifier twice.")
    return found


def _one(spec: str, timeout_s: float) -> Classify:
    if spec in BUILT_IN:
        return BUILT_IN[spec]
    if spec.startswith(("http://", "https://")):
        return Endpoint(spec, timeout_s)
    module, _, name = spec.partition(":")
    if not name:
        raise UsageError(
            f"{spec!r} is no classifier: say one of {', '.join(BUILT_IN)}, package.module:callable, or an http address."
        )
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise UsageError(f"The classifier {spec!r} cannot be imported: {error}.") from error
    if not callable(found):
        raise UsageError(f"{spec!r} is no callable.")
    wanted: Classify = found() if isinstance(found, type) else found
    return wanted


class Endpoint:
    """A classifier behind HTTP: gets `{"text", "language", "refusal"}`, gives `[{"name", "score", "label"}]`.

    No redirect is followed and no proxy of the environment is used, so that text goes where the settings say.
    """

    def __init__(self, url: str, timeout_s: float) -> None:
        self._url = url
        self._http = httpx.Client(timeout=timeout_s, trust_env=False, follow_redirects=False)

    def __call__(self, answer: Answer) -> list[Verdict]:
        """Ask once.

        Raises:
            httpx.HTTPError: It did not answer, or with an error.
            ValueError: It answered something else.
        """
        body = msgspec.json.encode(answer)
        with self._http.stream(
            "POST", self._url, content=body, headers={"Content-Type": "application/json"}
        ) as response:
            if response.status_code != 200:
                raise httpx.HTTPError(f"it answered {response.status_code}")
            data = b""
            for part in response.iter_bytes():
                data += part
                if len(data) > MOST_BYTES:
                    raise ValueError("its answer is too long")
        return msgspec.json.decode(data, type=list[Verdict])
