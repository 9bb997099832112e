"""From a policy's words to treatments: keys found, tokens made, once for a tenant and a version.

What a policy asks for and cannot be had (a key that is not there) makes its values be replaced: that is always safe,
and it is logged.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from typing import Final, TypeAlias

from pipeline.control.policy import ContentMode, Policy, RedactionRule
from pipeline.errors import UsageError
from pipeline.keys import Keys, resolve, resolve_key
from pipeline.redaction.seal import Seal
from pipeline.redaction.treat import PLAIN, Token, Treatment

log = logging.getLogger(__name__)

Terms: TypeAlias = tuple[int, int, ContentMode, Treatment]

HELD: Final = 4_096
CANARY_CHARS: Final = 8
_NOTHING_SAID: Final = RedactionRule()


class Treatments:
    """Treatments by policy version, tenant and environment.

    Memory: the last 4,096, about 1 kB each; most installations have one.

    Args:
        keys: The key store; pseudonyms are made with each tenant's own.
    """

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._held: OrderedDict[tuple[int, str, str | None], Terms] = OrderedDict()

    def of(self, version: int, policy: Policy, tenant: str, environment: str | None) -> Terms:
        """(metadata days, text days, content mode, treatment) of a tenant under one version of the policy."""
        key = (version, tenant, environment)
        found = self._held.get(key)
        if found is None:
            rule = policy.redaction(tenant, environment)
            made = PLAIN if rule == _NOTHING_SAID else treatment(rule, tenant, self._keys)
            found = self._held[key] = (*policy.life(tenant, environment), made)
            if len(self._held) > HELD:
                self._held.popitem(last=False)
        return found


def treatment(rule: RedactionRule, tenant: str, keys: Keys | None) -> Treatment:
    """A rule with its keys; without a key store pseudonyms are replaced."""
    return Treatment(
        entities=None if rule.entities is None else frozenset(rule.entities),
        without=frozenset(rule.without or ()),
        action=rule.action or "replace",
        actions=rule.actions,
        keep_last=rule.keep_last or 0,
        pseudonym=None if keys is None else _pseudonym(keys, tenant),
        encrypt=_encrypt(rule.key, tenant),
        canary=_canary(rule.canary, tenant),
        names=rule.names is not False,
    )


def _pseudonym(keys: Keys, tenant: str) -> Token:
    # 96 bits: a billion values of one tenant share a token with a chance of one in 10^11.
    return lambda entity, value: keys.hash("pseudonym", tenant, f"text:{entity}", value)[:24]


def _encrypt(reference: str | None, tenant: str) -> Token | None:
    if reference is None:
        return None
    try:
        return Seal(resolve_key(reference), reference).token(tenant)
    except UsageError as error:
        log.error("values of %s are replaced instead of encrypted: %s", tenant or "everybody", error)
        return None


def _canary(reference: str | None, tenant: str) -> str:
    if reference is None:
        return ""
    try:
        value = resolve(reference)
    except UsageError as error:
        log.error("the canary of %s is not watched for: %s", tenant or "everybody", error)
        return ""
    if len(value) < CANARY_CHARS:
        log.error("the canary of %s has fewer than %d characters and is not watched for", tenant, CANARY_CHARS)
        return ""
    return value
