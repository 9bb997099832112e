"""What of a model's findings is kept: names in prose, not words of code, spans of time or names of tools. Pure.

The small model was trained on news; in chats about code it takes `Node` for a person, `2` for a date and `C++` for a
nationality. The rules below only drop findings, each for a reason that can be read off the finding and its line.
"""

from __future__ import annotations

from typing import Final

import regex

_CODE_CHARS: Final = regex.compile(r"[_(){}\[\]<>=;|*#$^~`\\+@]|::|->|//|\.\w+\(|\w\.\w+\.\w|^[./]")
_CAMEL: Final = regex.compile(r"\p{Ll}\p{Lu}")
_CAMEL_NAMES: Final = regex.compile(r"\b(?:Mc|Mac|De|Di|Da|La|Le|Van|O'|D'|Fitz)\p{Lu}\p{Ll}")
_FENCE: Final = regex.compile(r"^[ \t]*(?:```|~~~)", regex.MULTILINE)
_MONTHS: Final = r"jan(?:uary)?|feb(?:ruary)?|march|mar|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?"
_DAYS: Final = r"(?:mon|tues|wednes|thurs|fri|satur|sun)days?|christmas|easter|thanksgiving|new year's"
_WHEN: Final = regex.compile(
    rf"\b(?:1[0-9]|20)\d\d\b|\b\d{{1,2}}[:.h]\d\d\b|\d[/.-]\d|\b(?:{_DAYS})\b|\b(?:{_MONTHS})\b|\b\d{{1,2}}\s?(?:[ap]\.?m\b|o'?clock)|"
    r"\b\d{1,2}(?:st|nd|rd|th)\b|\b\d{2}s\b|\bcentur(?:y|ies)\b|\bnoon\b|\bmidnight\b|years?[- ]old|\bB\.?C\.?E?\b|\bA\.?D\.?\b",
    regex.IGNORECASE,
)
_MAY: Final = regex.compile(r"\s*(?:may|march|mar)\s*", regex.IGNORECASE)
_NUMBER: Final = regex.compile(r"[\d.,%\s/-]{1,12}")
# Tools, languages and words of the trade that begin with a capital letter and are nobody and nowhere.
_TRADE: Final = frozenset(
    "python java javascript typescript node nodejs react angular vue django flask docker kubernetes redis kafka postgres postgresql mysql "
    "mongodb sqlite linux ubuntu debian fedora windows macos ios android github gitlab bitbucket git bash powershell rust golang go kotlin "
    "swift scala ruby rails perl php html css json yaml xml toml csv sql nosql graphql rest grpc http https tcp udp dns ssh tls ssl aws azure "
    "gcp lambda terraform ansible jenkins nginx apache tomcat hadoop spark airflow flink pandas numpy scipy tensorflow pytorch keras sklearn "
    "matplotlib seaborn jupyter conda pip npm yarn webpack babel eslint pytest junit selenium cypress latex markdown excel word powerpoint "
    "photoshop illustrator figma sketch blender unity unreal matlab simulink octave julia haskell erlang elixir clojure lisp scheme prolog "
    "fortran cobol pascal delphi assembly arduino raspberry esp32 cuda opencl vulkan opengl wsl vscode vim emacs intellij eclipse xcode gradle "
    "maven ant cmake makefile gcc clang llvm valgrind gdb llm gpt chatgpt bert openai anthropic claude gemini llama mistral bing google youtube "
    "tiktok instagram facebook twitter linkedin reddit discord slack zoom teams trello jira confluence notion salesforce shopify wordpress "
    "wikipedia stackoverflow api apis sdk url uri uuid json.loads gui cli ide ram cpu gpu ssd usb pdf png jpeg jpg gif svg mp3 mp4 ascii utf "
    "unicode regex lambda async await mutex semaphore thread stack queue heap array list dict tuple set string int float bool boolean null none "
    "true false class method function object enum struct interface abstract static void public private protected return import export const "
    "let var def self init main test input output step note example solution answer question explanation conclusion introduction summary "
    "overview objective objectives goal goals task tasks title subject dear sincerely regards best pros cons tip tips faq todo sort search tree "
    "graph node edge matrix vector scalar tensor token tokens prompt chain agent agents model dataset sample batch epoch layer kernel fourier "
    "laplace gaussian bayesian bayes markov euler newton boolean poisson bernoulli lagrange hamiltonian lorentz doppler planck kelvin celsius "
    "fahrenheit hertz joule watt volt ohm ampere tesla pascal bitcoin ethereum solana solidity nft defi dao crypto blockchain web3 oauth jwt saml "
    "sso ldap kerberos cors csrf xss sqli pep8 pep utf-8 c c++ c# .net f# r s3 ec2 rds ecs eks iam vpc cdn crud mvc mvvm orm dto dao poc mvp kpi "
    "roi seo b2b b2c saas paas iaas ci cd devops agile scrum kanban sprint backlog hashmap hashset arraylist linkedlist dijkstra quicksort mergesort "
    "bubblesort fibonacci sum max min avg count len print printf println malloc free scanf cout cin endl vec iter stdin stdout stderr png webp "
    "plotly ggplot dplyr shiny tidyverse openai's dall midjourney stable diffusion huggingface transformers langchain pinecone streamlit gradio "
    "fastapi express nextjs nuxt svelte tailwind bootstrap jquery ajax axios fetch websocket webrtc graphql apollo prisma sequelize hibernate spring "
    "quarkus micronaut lombok mockito entity repository service controller component module package library framework plugin extension server client "
    "proxy router gateway firewall cache cookie session header footer navbar sidebar button label textbox checkbox dropdown modal".split()
)
# Verbs and nouns that begin a step, a heading or a comment.
_BEGINNINGS: Final = frozenset(
    "add apply assign assume calculate call check choose click close combine compare compute configure connect consider convert copy count "
    "create declare define delete derive design determine develop distribute divide download draw enter evaluate expand explain extract find "
    "finish generate get give go handle identify implement import improve include increase initialize input insert install iterate join keep "
    "load loop make map measure merge modify monitor move multiply name note open optimize order output parse pass perform place plan plot "
    "prepare press print process provide put query read reduce remove rename repeat replace resize return review roll run save scale select "
    "send set show simplify solve sort split start step stop store submit subtract sum swap switch take tell test track train transform try "
    "turn type update upload use using validate verify visit wait walk watch write rules goal mark scheme field fields radiance metropolis "
    "long short bike swim rest distractor statement hero chase total mean median value values key keys result results data dataset user users "
    "target source content header body message messages item items page pages line lines word words number numbers string strings gb mb kb tb".split()
)
_ACRONYM: Final = regex.compile(r"[A-Z]{2,4}s?")
_PLACES_BY_LETTERS: Final = frozenset("US USA UK UAE EU NYC LA SF DC USSR NZ HK PRC".split())
_SPAN: Final = regex.compile(
    r"(?i)(?:(?:about|around|at least|up to|over|nearly|the (?:last|past|next|first)|last|past|next|an?|per|every|each|all|half|few|several|a few|[\d.,/-]+|"
    r"one|two|three|four|five|six|seven|eight|nine|ten|twelve|fifteen|twenty|thirty)[ -]?)*(?:hours?|minutes?|mins?|seconds?|secs?|days?|weeks?|months?|"
    r"years?|decades?|quarters?)"
)


def keeps(text: str, entity: str, start: int, end: int) -> bool:
    """Whether a model's finding is kept.

    Args:
        text: what the model saw.
        entity: PERSON, LOCATION, NRP, DATE_TIME or another type; others are always kept.
        start: offset of the finding in characters.
        end: of its end.
    """
    value = text[start:end]
    if entity == "DATE_TIME":
        return _is_a_time(value)
    if entity not in ("PERSON", "LOCATION", "NRP"):
        return True
    stripped = value.strip("'\"“”‘’ \t\n.,:;!?*-—–")
    if not stripped or _CODE_CHARS.search(stripped) or not any(c.isalpha() for c in stripped):
        return False
    words = stripped.split()
    if " - " in stripped or "\n-" in stripped or ("\n " in stripped and entity == "PERSON"):
        return False
    if _ACRONYM.fullmatch(stripped) and stripped not in _PLACES_BY_LETTERS and not text[:start].endswith(", "):
        return False
    if entity == "PERSON" and all(word.lower().strip(".,:;") in _BEGINNINGS for word in words):
        return False
    if (
        entity == "PERSON"
        and len(words) == 1
        and regex.search(r"(?:ing|tion|ment|ness|ity|able|ize|ise|ate)$", stripped)
        and len(stripped) > 6
    ):
        return False
    if entity != "PERSON" and any(word.lower().strip(".,:;'\"()") in _TRADE for word in words):
        return False
    if all(word.lower().strip(".,:;'\"()").removesuffix("'s") in _TRADE for word in words):
        return False
    if _CAMEL.search(stripped) and not _CAMEL_NAMES.search(stripped):
        return False
    if len(stripped) == 1 or (entity == "PERSON" and any(c.isdigit() for c in stripped)):
        return False
    if (
        text[end : end + 1] in ("(", "[", "_", "=", "<")
        or text[end : end + 2] in ("::", "->")
        or text[start - 1 : start] in ("_", "<", "$", "#", "\\")
    ):
        return False
    if text[end : end + 1] == "." and text[end + 1 : end + 2].isalpha() and text[end + 1 : end + 2].islower():
        return False  # a member of an object
    return not (_in_code(text, start) and not _is_quoted_name(text, start, end, words))


def _is_a_time(value: str) -> bool:
    """A point in time or a day, not a span, a frequency or a bare number."""
    if _MAY.fullmatch(value):
        return True
    if _SPAN.fullmatch(value.strip()):
        return False
    if _NUMBER.fullmatch(value) and not regex.search(r"\b(?:1[5-9]|20)\d\d\b|\d[/.-]\d\d?[/.-]\d", value):
        return False
    return _WHEN.search(value) is not None and not _CODE_CHARS.search(value)


def _in_code(text: str, start: int) -> bool:
    """Whether a place lies between fences of code."""
    if "```" not in text and "~~~" not in text:
        return False
    return sum(1 for _ in _FENCE.finditer(text, 0, start)) % 2 == 1


def _is_quoted_name(text: str, start: int, end: int, words: list[str]) -> bool:
    """In code only a string says something about the world: two words or more, both with a capital letter."""
    line_start, line_end = text.rfind("\n", 0, start) + 1, text.find("\n", end)
    before, after = text[line_start:start], text[end : line_end if line_end >= 0 else len(text)]
    quoted = any(before.count(q) % 2 == 1 and q in after for q in "\"'")
    return quoted and (len(words) > 1 or text[start - 1 : start] in ("'", '"')) and all(w[:1].isupper() for w in words)
