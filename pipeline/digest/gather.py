"""What a digest asks ClickHouse, as whoever asks: what the login may not read is said, not guessed.

Every number is of the week's event time and compared with the week before, or with the four before where new things are
looked for. Values reach ClickHouse as parameters.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import msgspec

from pipeline.cli.costs import Range, spendings
from pipeline.cli.reader import Refused
from pipeline.control.budgets import NANO
from pipeline.digest.model import WEEK, Picture, Section, section

if TYPE_CHECKING:
    from pipeline.cli.reader import Reader

DAYS: Final = 7
# Rows of a section; a digest is read on a phone.
MOST: Final = 8
# What is newer than the four weeks before is new.
BEFORE: Final = 4 * WEEK
# Fewer calls are no change of a feature's answers, and no drift.
FEWEST: Final = 20
MOST_TEXT: Final = 240

_AT: Final = "least(ts, received_at)"
_CALLS: Final = (
    "kind = 'call' AND received_at >= fromUnixTimestamp64Milli({before_ms:Int64}, 'UTC') "
    "AND ({tenant:String} = '' OR tenant = {tenant:String})"
)
_IN: Final = (
    f"{_AT} >= fromUnixTimestamp64Milli({{since_ms:Int64}}, 'UTC') "
    f"AND {_AT} < fromUnixTimestamp64Milli({{until_ms:Int64}}, 'UTC')"
)
_OF: Final = (
    "received_at >= fromUnixTimestamp64Milli({since_ms:Int64}, 'UTC') "
    "AND received_at < fromUnixTimestamp64Milli({until_ms:Int64}, 'UTC') "
    "AND ({tenant:String} = '' OR tenant = {tenant:String})"
)

_BY_DAY: Final = f"""
    SELECT toDate({_AT}) AS day, tenant, toFloat64(sum(toDecimal128(calls.cost_usd, 9))) AS usd
    FROM calls WHERE {_CALLS} AND {_IN} GROUP BY day, tenant ORDER BY day
"""
_REPEATED: Final = f"""
    SELECT tenant, any(feature) AS feature, any(model) AS model, count() AS asked,
        toFloat64(sum(toDecimal128(c.cost_usd, 9)) - max(toDecimal128(c.cost_usd, 9))) AS cost_usd,
        any(substringUTF8(t.input, 1, 400)) AS input
    FROM calls AS c INNER JOIN call_content AS t
        ON c.epoch = t.epoch AND c.partition = t.partition AND c.offset = t.offset
    WHERE c.kind = 'call' AND c.status = 'ok' AND NOT ifNull(c.cache_hit, false) AND NOT empty(t.input)
        AND c.received_at >= fromUnixTimestamp64Milli({{since_ms:Int64}}, 'UTC')
        AND t.received_at >= fromUnixTimestamp64Milli({{since_ms:Int64}}, 'UTC')
        AND c.received_at < fromUnixTimestamp64Milli({{until_ms:Int64}}, 'UTC')
        AND ({{tenant:String}} = '' OR c.tenant = {{tenant:String}})
    GROUP BY c.tenant AS tenant, sipHash128(t.input, c.model, toString(c.parameters))
    HAVING asked > 1 ORDER BY cost_usd DESC NULLS LAST, asked DESC LIMIT {MOST}
"""
_SHAPES: Final = f"""
    SELECT tenant, feature, {_AT} >= fromUnixTimestamp64Milli({{since_ms:Int64}}, 'UTC') AS now,
        language, ifNull(length_bucket, -1) AS length, ifNull(topic_bucket, -1) AS topic, count() AS calls
    FROM calls
    WHERE {_CALLS} AND {_AT} >= fromUnixTimestamp64Milli({{week_ms:Int64}}, 'UTC')
        AND {_AT} < fromUnixTimestamp64Milli({{until_ms:Int64}}, 'UTC')
    GROUP BY tenant, feature, now, language, length, topic
"""
_NEW: Final = f"""
    SELECT tenant, feature, what, name, min(at) AS first, countIf(at >= since) AS calls, countIf(at < since) AS earlier
    FROM
    (
        SELECT tenant, feature, {_AT} AS at, fromUnixTimestamp64Milli({{since_ms:Int64}}, 'UTC') AS since,
            arrayJoin([
                ('model', if(empty(response_model), model, response_model)),
                ('prompt', if(empty(prompt_name), '', concat(prompt_name, ' ', prompt_version))),
                ('variant', variant)
            ]) AS one, one.1 AS what, one.2 AS name
        FROM calls
        WHERE {_CALLS} AND {_AT} < fromUnixTimestamp64Milli({{until_ms:Int64}}, 'UTC') AND NOT backfill
    )
    WHERE notEmpty(name)
    GROUP BY tenant, feature, what, name
    HAVING (calls > 0 AND earlier = 0) OR (calls = 0 AND earlier > 0)
    ORDER BY calls + earlier DESC LIMIT 200
"""
_COVERED: Final = f"""
    SELECT tenant, feature, calls, judged, scores FROM
    (SELECT tenant, feature, count() AS calls FROM calls WHERE {_CALLS} AND {_IN} GROUP BY tenant, feature) AS c
    LEFT JOIN
    (
        SELECT tenant, feature, uniqExact(about) AS judged,
            arrayStringConcat(arrayMap(
                (n, s) -> if(isNaN(s), n, concat(n, ' ', toString(round(s, 2)))),
                arraySlice(groupUniqArray(name), 1, 4),
                arrayMap(n -> arrayAvg(arrayFilter((s, o) -> o = n AND isNotNull(s), groupArray(score),
                    groupArray(name))), arraySlice(groupUniqArray(name), 1, 4))), ', ') AS scores
        FROM evaluations WHERE {_OF} GROUP BY tenant, feature
    ) AS e USING (tenant, feature)
    ORDER BY calls DESC LIMIT {MOST}
"""
_ERRORS: Final = f"""
    SELECT tenant, feature, model, status, error_type, count() AS calls,
        toFloat64(sum(toDecimal128(calls.cost_usd, 9))) AS cost_usd
    FROM calls WHERE {_CALLS} AND {_IN} AND status != 'ok'
    GROUP BY tenant, feature, model, status, error_type ORDER BY calls DESC LIMIT {MOST}
"""
_DISLIKED: Final = f"""
    SELECT tenant, feature, about, count() AS times, min(feedback.rating) AS worst, any(feedback.label) AS said
    FROM feedback WHERE {_OF} AND (feedback.rating < 0 OR feedback.label IN ('bad', 'down', 'negative', 'no',
    'incorrect', 'unsafe')) GROUP BY tenant, feature, about ORDER BY times DESC, worst, about LIMIT {MOST}
"""
_TEXTS: Final = """
    SELECT id, substringUTF8(output, 1, 1000) AS output FROM call_content
    WHERE id IN {ids:Array(String)} AND received_at >= fromUnixTimestamp64Milli({before_ms:Int64}, 'UTC')
"""
_OUTCOMES: Final = f"""
    SELECT tenant, feature, if(empty(label), 'rated only', label) AS outcome, count() AS times, avg(feedback.rating) AS
    mean FROM feedback WHERE {_OF} GROUP BY tenant, feature, outcome ORDER BY times DESC LIMIT {MOST}
"""
_OUTCOME_TEXTS: Final = f"""
    SELECT f.tenant AS tenant, f.feature AS feature,
        coalesce(nullIf(t.other['feedback.outcome'], ''), nullIf(f.label, ''), 'rated only') AS outcome,
        count() AS times, avg(f.rating) AS rating
    FROM (SELECT * FROM feedback WHERE {_OF}) AS f
    LEFT JOIN (SELECT epoch, partition, offset, other FROM call_content WHERE {_OF}) AS t
        ON f.epoch = t.epoch AND f.partition = t.partition AND f.offset = t.offset
    GROUP BY tenant, feature, outcome ORDER BY times DESC LIMIT {MOST}
"""
_FOUND: Final = f"""
    SELECT rule, severity, state, opened_at AS at, why, id FROM anomalies_now
    WHERE opened_at >= fromUnixTimestamp64Milli({{since_ms:Int64}}, 'UTC')
        AND opened_at < fromUnixTimestamp64Milli({{until_ms:Int64}}, 'UTC')
        AND ({{tenant:String}} = '' OR tenant = {{tenant:String}})
    ORDER BY severity, at DESC LIMIT {MOST}
"""
_SWITCHED: Final = f"""
    SELECT c.appended_at AS at, c.kind AS kind, c.owner AS owner,
        arrayStringConcat(arrayMap((k, v) -> concat(k, '=', v), mapKeys(c.selector), mapValues(c.selector)), ' ') AS
        selector, coalesce(nullIf(JSONExtractString(c.body, 'reason'), ''), JSONExtractString(c.body, 'note')) AS
    reason, a.why AS because FROM controls_log AS c FINAL LEFT JOIN (SELECT id, why FROM anomalies_now) AS a ON a.id =
    c.cause WHERE c.kind NOT IN ('epoch', 'erasure')
        AND c.appended_at >= fromUnixTimestamp64Milli({{since_ms:Int64}}, 'UTC')
        AND c.appended_at < fromUnixTimestamp64Milli({{until_ms:Int64}}, 'UTC')
        AND ({{tenant:String}} = '' OR c.tenant IN ('', {{tenant:String}}))
    ORDER BY at DESC LIMIT {2 * MOST}
"""


class Gatherer:
    """Asks for one week.

    Args:
        reader: As whom.
        since: First moment of the week.
        tenant: Only this tenant.
    """

    def __init__(self, reader: Reader, since: datetime, tenant: str = "") -> None:
        self._reader = reader
        self._since = since
        self._tenant = tenant
        self._values = {
            "since_ms": _ms(since), "until_ms": _ms(since + WEEK), "week_ms": _ms(since - WEEK),
            "before_ms": _ms(since - BEFORE), "tenant": tenant,
        }  # fmt: skip

    def sections(self) -> list[Section]:
        """All sections; one that the login may not read says so."""
        parts: tuple[tuple[str, str, Callable[[], Section]], ...] = (
            ("cost", "What it cost", self._cost), ("features", "By feature", self._features),
            ("repeated", "Asked again", self._repeated), ("found", "What was found", self._found),
            ("drift", "What people asked changed", self._drift), ("new", "New models and prompts", self._new),
            ("coverage", "How much was evaluated", self._coverage), ("errors", "Errors", self._errors),
            ("disliked", "Disliked answers", self._disliked), ("outcomes", "Outcomes", self._outcomes),
            ("switched", "What was set and switched", self._switched),
        )  # fmt: skip
        return [self._or_refused(*part) for part in parts]

    def _or_refused(self, name: str, title: str, make: Callable[[], Section]) -> Section:
        try:
            return make()
        except Refused as error:
            return Section(name, title, _refused(self._reader.user, error))

    def _rows(self, sql: str, **more: Any) -> list[list[Any]]:
        return [list(row) for row in self._reader.ask(sql, {**self._values, **more}).rows]

    def _spent(self, by: Sequence[str], since: datetime) -> dict[tuple[str, ...], tuple[int, float, float]]:
        only = {"tenant": self._tenant} if self._tenant else {}
        when = Range(_ms(since), _ms(since + WEEK), only)
        return {
            tuple(one.names.values()): (one.calls, one.nano_usd / NANO, one.saved_nano_usd / NANO)
            for one in spendings(self._reader, by, when)
        }

    def _compared(self, by: Sequence[str]) -> tuple[list[list[Any]], float, float]:
        now, before = self._spent(by, self._since), self._spent(by, self._since - WEEK)
        rows: list[list[Any]] = []
        for names, (calls, usd, saved) in now.items():
            earlier = before.get(names, (0, 0.0, 0.0))[1]
            rows.append([*names, calls, usd, earlier, usd / earlier if earlier else None, saved])
        return rows, sum(one[1] for one in now.values()), sum(one[1] for one in before.values())

    def _cost(self) -> Section:
        from pipeline.cli.formats import money

        rows, total, earlier = self._compared(["tenant"])
        says = f"{money(total)} this week, {money(earlier)} the week before" + (
            f" ({100 * (total / earlier - 1):+.0f} %)." if earlier else "."
        )
        picture = self._by_day([row[0] for row in rows])
        return section(
            "cost", "What it cost", says,
            {"tenant": "text", "calls": "count", "cost_usd": "money", "week_before_usd": "money", "change": "ratio",
             "saved_by_caching_usd": "money"},
            rows[:MOST], *([picture] if rows else []),
        )  # fmt: skip

    def _by_day(self, tenants: list[str]) -> Picture:
        shown, days = tenants[:4], [(self._since + timedelta(days=day)).date() for day in range(DAYS)]
        sums: dict[str, list[float]] = {name: [0.0] * DAYS for name in shown}
        for day, tenant, usd in self._rows(_BY_DAY):
            if day in days and usd:
                sums.setdefault(tenant if tenant in shown else "others", [0.0] * DAYS)[days.index(day)] += usd
        return Picture("Cost by day", [f"{day:%a %d}" for day in days], list(sums), list(sums.values()))

    def _features(self) -> Section:
        rows, total, _ = self._compared(["tenant", "feature"])
        top = rows[:MOST]
        picture = Picture(
            "Cost by feature", [f"{row[0]} {row[1]}" for row in top], ["this week", "week before"],
            [[row[3] for row in top], [row[4] for row in top]],
        )  # fmt: skip
        says = f"The {len(top)} features that cost most of {len(rows)}." if rows else "No calls."
        return section(
            "features", "By feature", says,
            {"tenant": "text", "feature": "text", "calls": "count", "cost_usd": "money", "week_before_usd": "money",
             "change": "ratio", "saved_by_caching_usd": "money"},
            top, *([picture] if total else []),
        )  # fmt: skip

    def _repeated(self) -> Section:
        rows = [[*row[:5], _said(row[5])] for row in self._rows(_REPEATED)]
        spent = sum(float(row[4] or 0) for row in rows)
        from pipeline.cli.formats import money

        says = (
            "The same question to the same model with the same parameters, and no cache answered: "
            f"{money(spent)} for all but the first time."
            if rows
            else "No question was asked twice without a cache answering."
        )
        return section(
            "repeated", "Asked again", says,
            {"tenant": "text", "feature": "text", "model": "text", "asked": "count", "cost_usd": "money",
             "question": "text"},
            rows,
        )  # fmt: skip

    def _found(self) -> Section:
        rows = self._rows(_FOUND)
        return section(
            "found", "What was found", "" if rows else "No rule found anything.",
            {"rule": "text", "severity": "text", "state": "text", "at": "time", "why": "text", "id": "text"}, rows,
        )  # fmt: skip

    def _drift(self) -> Section:
        counted: dict[tuple[str, str], list[dict[str, dict[Any, int]]]] = defaultdict(
            lambda: [defaultdict(lambda: defaultdict(int)), defaultdict(lambda: defaultdict(int))]
        )
        for tenant, feature, now, language, length, topic, calls in self._rows(_SHAPES):
            week = counted[tenant, feature][bool(now)]
            for name, value in (("language", language), ("length", length), ("topic", topic)):
                week[name][value] += calls
        rows: list[list[Any]] = []
        for (tenant, feature), (before, now) in counted.items():
            for name in ("language", "length", "topic"):
                moved = _moved(before[name], now[name])
                if moved is not None and moved[0] >= 0.1:
                    share, value = moved
                    shown = value if name == "language" and value else f"bucket {value}"
                    rows.append([tenant, feature, name, share, shown])
        rows.sort(key=lambda row: -row[3])
        says = "Share of calls that would have to be others for this week to look like the one before."
        return section(
            "drift", "What people asked changed", says if rows else "Languages, lengths and topics are as they were.",
            {"tenant": "text", "feature": "text", "of": "text", "moved": "share", "most_towards": "text"}, rows[:MOST],
        )  # fmt: skip

    def _new(self) -> Section:
        rows = [
            [tenant, feature, what, name, "gone" if not calls else "new", calls or earlier, first]
            for tenant, feature, what, name, first, calls, earlier in self._rows(_NEW)
            if calls or earlier >= FEWEST
        ]
        return section(
            "new", "New models and prompts",
            "Not seen in the four weeks before, or not any more." if rows else "The same models and prompts as before.",
            {"tenant": "text", "feature": "text", "what": "text", "name": "text", "is": "text", "calls": "count",
             "first": "time"},
            rows[: 2 * MOST],
        )  # fmt: skip

    def _coverage(self) -> Section:
        rows = [
            [tenant, feature, calls, judged, min(1.0, judged / calls) if calls else None, scores]
            for tenant, feature, calls, judged, scores in self._rows(_COVERED)
        ]
        unjudged = sum(1 for row in rows if not row[3])
        says = f"{unjudged} of the {len(rows)} busiest features were not evaluated at all." if rows else "No calls."
        return section(
            "coverage", "How much was evaluated", says,
            {"tenant": "text", "feature": "text", "calls": "count", "evaluated": "count", "share": "share",
             "mean_scores": "text"},
            rows,
        )  # fmt: skip

    def _errors(self) -> Section:
        rows = self._rows(_ERRORS)
        return section(
            "errors", "Errors", "" if rows else "No call failed.",
            {"tenant": "text", "feature": "text", "model": "text", "status": "text", "error": "text", "calls": "count",
             "cost_usd": "money"},
            rows,
        )  # fmt: skip

    def _disliked(self) -> Section:
        rows = self._rows(_DISLIKED)
        says = "" if rows else "Nobody said that an answer was bad."
        texts: dict[str, str] = {}
        if rows:
            try:
                found = self._rows(_TEXTS, ids=[row[2] for row in rows])
                texts = {ident: _said(text) for ident, text in found}
            except Refused:
                says = f"By id: the login {self._reader.user} may not read text, or gave no --reason."
        return section(
            "disliked", "Disliked answers", says,
            {"tenant": "text", "feature": "text", "call": "text", "times": "count", "rating": "text", "label": "text",
             "answer": "text"},
            [[*row, texts.get(row[2], "")] for row in rows],
        )  # fmt: skip

    def _outcomes(self) -> Section:
        try:
            rows, says = self._rows(_OUTCOME_TEXTS), ""
        except Refused:
            rows, says = self._rows(_OUTCOMES), "By label: an outcome in words is text, which this login may not read."
        return section(
            "outcomes", "Outcomes", says if rows else "Nobody said how it ended.",
            {"tenant": "text", "feature": "text", "outcome": "text", "times": "count", "mean_rating": "text"},
            [[*row[:4], None if row[4] is None else f"{row[4]:.2f}"] for row in rows],
        )  # fmt: skip

    def _switched(self) -> Section:
        rows = self._rows(_SWITCHED)
        return section(
            "switched", "What was set and switched", "" if rows else "Nothing was set or switched.",
            {"at": "time", "kind": "text", "by": "text", "on": "text", "reason": "text", "because": "text"}, rows,
        )  # fmt: skip


def _refused(login: str, error: Refused) -> str:
    if error.lacks_reason:
        return f"{login} sees this with a --reason."
    return f"Not for the login {login}; --user names another one."


def _moved(before: dict[Any, int], now: dict[Any, int]) -> tuple[float, Any] | None:
    """(total variation between two weeks, what grew most); None where one has too few calls to say."""
    all_before, all_now = sum(before.values()), sum(now.values())
    if min(all_before, all_now) < FEWEST:
        return None
    grown = {one: now.get(one, 0) / all_now - before.get(one, 0) / all_before for one in before.keys() | now.keys()}
    most = max(sorted(grown, key=str), key=lambda one: grown[one])
    return sum(share for share in grown.values() if share > 0), most


def _said(stored: str) -> str:
    """The last thing that was said in a stored text, short."""
    from pipeline.detection.messages import said

    try:
        value: Any = msgspec.json.decode(stored)
    except msgspec.DecodeError:
        return " ".join(stored.split())[:MOST_TEXT]
    if isinstance(value, list) and value:
        value = value[-1]
    return " ".join(said(value).split())[:MOST_TEXT]


def _ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
