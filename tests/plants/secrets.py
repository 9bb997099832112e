"""Keys and tokens as their issuers describe them, drawn at random. Kind -> a function of a random source."""

from __future__ import annotations

import base64
import json
import random
import string
import uuid
from collections.abc import Callable

DIGITS, LOWER, UPPER = string.digits, string.ascii_lowercase, string.ascii_uppercase
ALNUM = DIGITS + LOWER + UPPER
HEX = DIGITS + "abcdef"
URLSAFE = ALNUM + "-_"
BASE64 = ALNUM + "+/"
BASE32 = UPPER + "234567"

Make = Callable[[random.Random], str]


def run(alphabet: str, length: int) -> Make:
    return lambda rng: "".join(rng.choices(alphabet, k=length))


def joined(*parts: str | Make) -> Make:
    return lambda rng: "".join(part if isinstance(part, str) else part(rng) for part in parts)


def one_of(*makers: Make) -> Make:
    return lambda rng: rng.choice(makers)(rng)


def password(rng: random.Random) -> str:
    """What a careful person types: letters of both cases, digits and a sign."""
    chars = [rng.choice(UPPER), rng.choice(DIGITS), rng.choice("!#%+=_-?"), *rng.choices(ALNUM, k=rng.randint(8, 14))]
    rng.shuffle(chars)
    return rng.choice(ALNUM) + "".join(chars) + rng.choice(ALNUM)


def jwt(rng: random.Random) -> str:
    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    claims = {"sub": str(rng.getrandbits(48)), "iat": rng.randrange(10**9, 2 * 10**9), "aud": run(LOWER, 8)(rng)}
    return ".".join(
        [part({"alg": rng.choice(["HS256", "RS256", "ES256"]), "typ": "JWT"}), part(claims), run(URLSAFE, 43)(rng)]
    )


def private_key(rng: random.Random) -> str:
    kind = rng.choice(["RSA ", "EC ", "OPENSSH ", "", "ENCRYPTED ", "DSA "])
    lines = "\n".join(run(BASE64, 64)(rng) for _ in range(rng.randint(4, 24)))
    return f"-----BEGIN {kind}PRIVATE KEY-----\n{lines}\n{run(BASE64, 30)(rng)}==\n-----END {kind}PRIVATE KEY-----"


def host(rng: random.Random) -> str:
    return f"{run(LOWER, 7)(rng)}.{run(LOWER, 6)(rng)}.{rng.choice(['net', 'io', 'org', 'internal'])}"


def connection(rng: random.Random) -> str:
    scheme = rng.choice(
        ["postgresql", "postgres", "mysql", "mongodb+srv", "mongodb", "redis", "rediss", "amqp", "mssql+pyodbc"]
    )
    return f"{scheme}://{run(LOWER, 6)(rng)}:{run(ALNUM, 14)(rng)}@{host(rng)}:{rng.randint(1024, 9999)}/{run(LOWER, 5)(rng)}"


def basic_url(rng: random.Random) -> str:
    return f"{rng.choice(['https', 'http', 'ftp'])}://{run(LOWER, 6)(rng)}:{run(ALNUM, 12)(rng)}@{host(rng)}/{run(LOWER, 5)(rng)}"


def azure_connection(rng: random.Random) -> str:
    key = base64.b64encode(rng.randbytes(64)).decode()
    return f"DefaultEndpointsProtocol=https;AccountName={run(LOWER, 9)(rng)};AccountKey={key};EndpointSuffix=core.windows.net"


def dotnet(rng: random.Random) -> str:
    return (
        f"Server={host(rng)};Database={run(LOWER, 6)(rng)};User Id={run(LOWER, 6)(rng)};Password={run(ALNUM, 14)(rng)};"
    )


def basic_header(rng: random.Random) -> str:
    return base64.b64encode(f"{run(LOWER, 6)(rng)}:{run(ALNUM, 12)(rng)}".encode()).decode()


# kind -> (what stands before it, how it is made); an empty text before it: the token alone must be enough.
KINDS: dict[str, tuple[str, Make]] = {
    "openai project": ("", joined("sk-proj-", run(URLSAFE, 74), "T3BlbkFJ", run(URLSAFE, 74))),
    "openai legacy": ("", joined("sk-", run(ALNUM, 20), "T3BlbkFJ", run(ALNUM, 20))),
    "openai service account": ("", joined("sk-svcacct-", run(URLSAFE, 58), "T3BlbkFJ", run(URLSAFE, 58))),
    "anthropic": ("", joined("sk-ant-api03-", run(URLSAFE, 93), "AA")),
    "openrouter": ("", joined("sk-or-v1-", run(HEX, 64))),
    "aws access key id": ("", joined(lambda r: r.choice(["AKIA", "ASIA"]), run(BASE32, 16))),
    "aws secret access key": ("aws_secret_access_key = ", run(BASE64, 40)),
    "google api": ("", joined("AIza", run(URLSAFE, 35))),
    "google oauth secret": ("", joined("GOCSPX-", run(URLSAFE, 28))),
    "google access token": ("", joined("ya29.", run(URLSAFE, 120))),
    "github classic": ("", joined("ghp_", run(ALNUM, 36))),
    "github oauth and app": ("", joined(lambda r: r.choice(["gho_", "ghu_", "ghs_", "ghr_"]), run(ALNUM, 36))),
    "github fine-grained": ("", joined("github_pat_", run(ALNUM, 22), "_", run(ALNUM, 59))),
    "gitlab personal": ("", joined("glpat-", run(URLSAFE, 20))),
    "slack bot": ("", joined("xoxb-", run(DIGITS, 12), "-", run(DIGITS, 13), "-", run(ALNUM, 24))),
    "slack user": ("", joined("xoxp-", run(DIGITS, 12), "-", run(DIGITS, 12), "-", run(DIGITS, 13), "-", run(HEX, 32))),
    "slack app level": ("", joined("xapp-1-A", run(UPPER + DIGITS, 10), "-", run(DIGITS, 13), "-", run(HEX, 64))),
    "slack webhook": ("", joined("https://hooks.slack.com/services/T", run(UPPER + DIGITS, 10), "/B", run(UPPER + DIGITS, 10), "/", run(ALNUM, 24))),
    "stripe secret": ("", joined(lambda r: r.choice(["sk_live_", "sk_test_", "rk_live_"]), run(ALNUM, 99))),
    "stripe webhook": ("", joined("whsec_", run(ALNUM, 32))),
    "twilio api key": ("", joined("SK", run(HEX, 32))),
    "sendgrid": ("", joined("SG.", run(URLSAFE, 22), ".", run(URLSAFE, 43))),
    "mailgun": ("", joined("key-", run(HEX, 32))),
    "mailchimp": ("", joined(run(HEX, 32), "-us", lambda r: str(r.randint(1, 21)))),
    "npm": ("", joined("npm_", run(ALNUM, 36))),
    "pypi": ("", joined("pypi-AgEIcHlwaS5vcmc", run(URLSAFE, 150))),
    "docker": ("", joined("dckr_pat_", run(URLSAFE, 27))),
    "hugging face": ("", joined("hf_", run(LOWER + UPPER, 34))),
    "replicate": ("", joined("r8_", run(ALNUM, 37))),
    "groq": ("", joined("gsk_", run(ALNUM, 52))),
    "langfuse": ("", lambda r: "sk-lf-" + str(uuid.UUID(int=r.getrandbits(128)))),
    "langsmith": ("", joined("lsv2_pt_", run(HEX, 32), "_", run(HEX, 10))),
    "digitalocean": ("", joined("dop_v1_", run(HEX, 64))),
    "databricks": ("", joined("dapi", run(HEX, 32))),
    "vault": ("", joined("hvs.", run(URLSAFE, 90))),
    "vault before 1.10": ("", joined("s.", run(ALNUM, 24))),
    "terraform cloud": ("", joined(run(ALNUM, 14), ".atlasv1.", run(ALNUM, 67))),
    "azure client secret": ("", joined(run(ALNUM, 3), run(DIGITS, 1), "Q~", run(ALNUM + "_-.~", 34))),
    "azure storage": ("", azure_connection),
    "shopify": ("", joined("shpat_", run(HEX, 32))),
    "square": ("", joined("sq0atp-", run(URLSAFE, 22))),
    "telegram bot": ("", joined(run("123456789", 10), ":AA", run(URLSAFE, 33))),
    "discord bot": ("", joined("M", run(ALNUM, 25), ".G", run(ALNUM, 5), ".", run(URLSAFE, 38))),
    "notion": ("", joined("ntn_", run(ALNUM, 46))),
    "linear": ("", joined("lin_api_", run(ALNUM, 40))),
    "figma": ("", joined("figd_", run(URLSAFE, 43))),
    "airtable": ("", joined("pat", run(ALNUM, 14), ".", run(HEX, 64))),
    "atlassian": ("", joined("ATATT3xFfGF0", run(URLSAFE, 180))),
    "grafana": ("", joined("glsa_", run(ALNUM, 32), "_", run(HEX, 8))),
    "new relic": ("", joined("NRAK-", run(UPPER + DIGITS, 27))),
    "dynatrace": ("", joined("dt0c01.", run(UPPER + DIGITS, 24), ".", run(UPPER + DIGITS, 64))),
    "planetscale": ("", joined("pscale_tkn_", run(URLSAFE, 43))),
    "postman": ("", joined("PMAK-", run(HEX, 24), "-", run(HEX, 34))),
    "packagist": ("", joined(lambda r: r.choice(["packagist_ort_", "packagist_out_", "packagist_uut_"]), run(HEX, 68))),
    "pulumi": ("", joined("pul-", run(HEX, 40))),
    "rubygems": ("", joined("rubygems_", run(HEX, 48))),
    "crates.io": ("", joined("cio", run(ALNUM, 32))),
    "sentry user": ("", joined("sntryu_", run(HEX, 64))),
    "sentry organization": ("", joined("sntrys_", run(BASE64, 170), "_", run(BASE64, 43))),
    "supabase personal": ("", joined("sbp_", run(HEX, 40))),
    "fly": ("", joined("fm2_", run(BASE64, 240))),
    "age": ("", joined("AGE-SECRET-KEY-1", run("QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L", 58))),
    "json web token": ("", jwt),
    "private key": ("", private_key),
    "connection string": ("", connection),
    "dotnet connection string": ("", dotnet),
    "user and password in an address": ("", basic_url),
    "bearer header": ("Authorization: Bearer ", run(URLSAFE, 40)),
    "basic header": ("Authorization: Basic ", basic_header),
    "password said": ("my password is ", password),
    "password assigned": ('password = "', password),
    "api key assigned": ("API_KEY=", run(HEX, 32)),
}  # fmt: skip
