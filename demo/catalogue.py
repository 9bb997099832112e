"""What a scenario is drawn from: businesses and their features, models and how fast they are, curves of a day. Data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Shape = Literal["office", "evening", "steady", "nightly"]
Work = Literal["chat", "extract", "search", "agent", "batch"]
Tier = Literal["large", "small"]

# Relative traffic at each full hour, UTC; between two hours it is interpolated.
CURVES: Final[dict[Shape, tuple[float, ...]]] = {
    "office": (
        0.04, 0.03, 0.03, 0.03, 0.04, 0.06, 0.14, 0.38, 0.80, 1.00, 1.00, 0.95,
        0.72, 0.85, 1.00, 0.98, 0.85, 0.62, 0.36, 0.20, 0.12, 0.08, 0.06, 0.05,
    ),
    "evening": (
        0.32, 0.20, 0.13, 0.10, 0.09, 0.12, 0.20, 0.30, 0.38, 0.43, 0.47, 0.52,
        0.58, 0.56, 0.54, 0.56, 0.63, 0.75, 0.90, 1.00, 1.00, 0.92, 0.72, 0.50,
    ),
    "steady": (
        0.70, 0.68, 0.66, 0.66, 0.68, 0.72, 0.78, 0.86, 0.94, 1.00, 1.00, 0.98,
        0.96, 0.97, 1.00, 0.99, 0.96, 0.92, 0.88, 0.85, 0.82, 0.79, 0.76, 0.73,
    ),
    "nightly": (
        0.30, 0.75, 1.00, 1.00, 0.90, 0.55, 0.25, 0.20, 0.22, 0.24, 0.25, 0.25,
        0.24, 0.24, 0.25, 0.25, 0.24, 0.22, 0.20, 0.18, 0.16, 0.16, 0.18, 0.22,
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Offer:
    """A model as a provider serves it: time to the first token, and for each further one."""

    provider: str
    model: str
    ttft_ms: float
    token_ms: float


LARGE: Final = (
    Offer("openai", "gpt-4.1", 620, 9.0),
    Offer("openai", "gpt-4o", 540, 8.5),
    Offer("anthropic", "claude-sonnet-4-5", 900, 11.0),
    Offer("google", "gemini-2.5-pro", 1_050, 8.0),
)
SMALL: Final = (
    Offer("openai", "gpt-4.1-mini", 420, 6.0),
    Offer("anthropic", "claude-haiku-4-5", 460, 5.5),
    Offer("google", "gemini-2.5-flash", 380, 4.5),
)
EMBEDDING: Final = Offer("openai", "text-embedding-3-small", 75, 0.0)


@dataclass(frozen=True, slots=True)
class Template:
    """A feature to draw.

    Attributes:
        name: As the events say it.
        work: What happens, see `demo.talks` and `demo.runs`.
        tier: Which size of model it uses.
        input_tokens: Median of a call's prompt.
        output_tokens: Median of a call's answer.
    """

    name: str
    work: Work
    tier: Tier
    input_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class Business:
    """A kind of tenant.

    Attributes:
        trade: Second half of its name.
        shape: Curve of its day.
        team: Who runs it.
        features: What to draw from.
    """

    trade: str
    shape: Shape
    team: str
    features: tuple[Template, ...]


BUSINESSES: Final = (
    Business("bank", "office", "client-services", (
        Template("service-assistant", "chat", "large", 6_000, 260),
        Template("letter-summary", "extract", "large", 7_500, 300),
        Template("policy-search", "search", "small", 8_000, 240),
        Template("onboarding-agent", "agent", "large", 4_200, 160),
    )),
    Business("health", "office", "care-desk", (
        Template("intake-summary", "extract", "large", 6_500, 320),
        Template("appointment-chat", "chat", "small", 4_500, 180),
        Template("guideline-search", "search", "large", 9_000, 280),
        Template("referral-agent", "agent", "large", 3_900, 170),
    )),
    Business("insurance", "office", "claims", (
        Template("claim-summary", "extract", "large", 8_000, 310),
        Template("claims-agent", "agent", "large", 4_800, 180),
        Template("cover-questions", "search", "small", 7_500, 230),
        Template("broker-chat", "chat", "large", 6_000, 250),
    )),
    Business("shop", "evening", "storefront", (
        Template("shop-assistant", "chat", "small", 5_000, 190),
        Template("product-search", "search", "small", 7_000, 200),
        Template("order-agent", "agent", "large", 3_900, 150),
        Template("gift-advisor", "chat", "large", 5_500, 260),
    )),
    Business("travel", "evening", "booking", (
        Template("trip-planner", "chat", "large", 6_500, 330),
        Template("booking-agent", "agent", "large", 4_500, 170),
        Template("hotel-search", "search", "small", 7_000, 210),
        Template("review-digest", "extract", "small", 6_000, 220),
    )),
    Business("learning", "evening", "classroom", (
        Template("tutor", "chat", "large", 5_500, 300),
        Template("essay-feedback", "extract", "large", 6_000, 340),
        Template("course-search", "search", "small", 6_500, 200),
        Template("homework-agent", "agent", "small", 4_200, 160),
    )),
    Business("software", "steady", "developer-tools", (
        Template("code-agent", "agent", "large", 5_400, 190),
        Template("review-notes", "extract", "large", 8_500, 280),
        Template("docs-search", "search", "small", 7_500, 230),
        Template("pair-chat", "chat", "large", 7_000, 310),
    )),
    Business("logistics", "steady", "dispatch", (
        Template("dispatch-agent", "agent", "large", 4_200, 150),
        Template("customs-forms", "extract", "large", 7_000, 260),
        Template("driver-chat", "chat", "small", 4_500, 170),
        Template("rate-search", "search", "small", 6_500, 190),
    )),
    Business("media", "nightly", "newsroom", (
        Template("transcript-tags", "batch", "small", 6_000, 120),
        Template("archive-summary", "extract", "large", 7_500, 240),
        Template("comment-check", "extract", "small", 3_500, 90),
        Template("research-agent", "agent", "large", 4_800, 180),
    )),
)  # fmt: skip

HOUSES: Final = (
    "alder", "aspen", "beacon", "birch", "cedar", "cobalt", "coral", "delta", "ember", "fjord", "harbor", "hazel",
    "indigo", "juniper", "lagoon", "larch", "lumen", "maple", "meadow", "quartz", "rowan", "summit", "tidal", "willow",
)  # fmt: skip
