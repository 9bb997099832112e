"""What was spent on what, day by day (UTC), exactly: integers, added up once for each call. Pure.

The judge tells of every change of a cell what is new in it, so an event counts once whatever is repeated, late or
restarted. Days are kept for DAYS, which holds the month and what forecasts look back on. Memory: a route or user takes
up to 3.5 kB when it spends every day; `max_routes` and `max_users` bound their number. What is dropped beyond that
still counts for its tenant.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

DAYS: Final = 40

# (environment, team, feature, model)
Route = tuple[str, str, str, str]
NAMES: Final = ("environment", "team", "feature", "model")


class Days(msgspec.Struct, gc=False):
    """Nano-dollars by day (days since 1970), and when it was last changed."""

    days: dict[int, int] = {}
    touched: int = 0


class SpendState(msgspec.Struct):
    """A book as it is kept in a snapshot."""

    routes: list[tuple[str, Route, Days]]
    users: list[tuple[str, str, Days]]
    rest: list[tuple[str, Days]]
    changes: int
    oldest: int


class SpendBook:
    """Sums by tenant and route, and by tenant and user.

    Args:
        max_routes: Most routes held, over all tenants.
        max_users: Most users held.
    """

    def __init__(self, max_routes: int = 5_000, max_users: int = 20_000) -> None:
        self._routes: dict[str, dict[Route, Days]] = {}
        self._users: dict[tuple[str, str], Days] = {}
        # What belonged to routes that were dropped.
        self._rest: dict[str, Days] = {}
        self._max_routes, self._max_users = max_routes, max_users
        self._count = 0
        self._changes = 0
        self._oldest = 0

    def add(self, tenant: str, route: Route, day: int, nano_usd: int) -> None:
        """Count money; negative where a later value corrects an earlier one."""
        if day < self._oldest:
            return
        routes = self._routes.setdefault(tenant, {})
        known = routes.get(route)
        if known is None:
            if self._count >= self._max_routes:
                self._drop_routes()
            known = routes[route] = Days({})
            self._count += 1
        self._put(known, day, nano_usd)

    def add_user(self, tenant: str, user: str, day: int, nano_usd: int) -> None:
        """Count money of a person (by pseudonym)."""
        if day < self._oldest:
            return
        known = self._users.get((tenant, user))
        if known is None:
            if len(self._users) >= self._max_users:
                self._drop_users()
            known = self._users[tenant, user] = Days({})
        self._put(known, day, nano_usd)

    def sums(self, selector: dict[str, str]) -> dict[int, int]:
        """Nano-dollars by day of what a selector (of `budgets`) names; nothing in it is everything."""
        total: dict[int, int] = {}
        if user := selector.get("user"):
            found = self._users.get((selector["tenant"], user))
            return dict(found.days) if found is not None else {}
        wanted = [(place, selector[name]) for place, name in enumerate(NAMES) if selector.get(name)]
        for tenant in [selector["tenant"]] if selector.get("tenant") else sorted({*self._routes, *self._rest}):
            for route, known in self._routes.get(tenant, {}).items():
                if all(route[place] == value for place, value in wanted):
                    _add_all(total, known.days)
            if not wanted and tenant in self._rest:
                _add_all(total, self._rest[tenant].days)
        return total

    def tenants(self) -> Iterator[str]:
        """Tenants that have spent anything that is still known."""
        yield from sorted({*self._routes, *self._rest})

    def advance(self, day: int) -> None:
        """Forget what is older than is kept, seen from `day`; call it once a day."""
        oldest = day - DAYS
        if oldest <= self._oldest:
            return
        self._oldest = oldest
        for tenant, routes in list(self._routes.items()):
            for route, known in list(routes.items()):
                if not _trimmed(known, oldest):
                    del routes[route]
                    self._count -= 1
            if not routes:
                del self._routes[tenant]
        for name, known in list(self._users.items()):
            if not _trimmed(known, oldest):
                del self._users[name]
        for tenant, known in list(self._rest.items()):
            if not _trimmed(known, oldest):
                del self._rest[tenant]

    def held(self) -> dict[str, int]:
        """How many routes and users are held, for metrics."""
        return {"route": self._count, "spender": len(self._users)}

    def _put(self, known: Days, day: int, nano_usd: int) -> None:
        self._changes += 1
        known.touched = self._changes
        known.days[day] = known.days.get(day, 0) + nano_usd

    def _drop_routes(self) -> None:
        """A twentieth at a time, the least recently changed ones."""
        every = [
            (known.touched, tenant, route) for tenant, some in self._routes.items() for route, known in some.items()
        ]
        every.sort()
        for _, tenant, route in every[: max(1, len(every) // 20)]:
            rest = self._rest.setdefault(tenant, Days({}))
            _add_all(rest.days, self._routes[tenant].pop(route).days)
            self._count -= 1

    def _drop_users(self) -> None:
        oldest = sorted(self._users, key=lambda name: self._users[name].touched)
        for name in oldest[: max(1, len(oldest) // 20)]:
            del self._users[name]

    def state(self) -> SpendState:
        """The state for a snapshot."""
        return SpendState(
            [(tenant, route, known) for tenant, some in self._routes.items() for route, known in some.items()],
            [(tenant, user, known) for (tenant, user), known in self._users.items()],
            list(self._rest.items()),
            self._changes,
            self._oldest,
        )

    def restore(self, state: SpendState) -> None:
        """Continue from a state; the book must be new."""
        for tenant, route, known in state.routes:
            self._routes.setdefault(tenant, {})[route] = known
        self._users = {(tenant, user): known for tenant, user, known in state.users}
        self._rest = dict(state.rest)
        self._count, self._changes, self._oldest = len(state.routes), state.changes, state.oldest


def _add_all(total: dict[int, int], days: dict[int, int]) -> None:
    for day, nano_usd in days.items():
        total[day] = total.get(day, 0) + nano_usd


def _trimmed(known: Days, oldest: int) -> bool:
    """Forget a key's old days; False when nothing is left."""
    if any(day < oldest for day in known.days):
        known.days = {day: nano_usd for day, nano_usd in known.days.items() if day >= oldest}
    return bool(known.days)
