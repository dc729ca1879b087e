"""What a credential looks like, whoever it belongs to: a token behind its scheme or its name, a key with its issuer's prefix.

A server may quote credentials that are none of ours: another client's header, the address of a store behind it. The shapes err on
the side of blanking; words of our own messages ("a bearer token", "basic authentication") are left alone.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache

#: Longest text whose redaction is remembered.
_OFTEN = 500
#: What is written in a secret's place.
BLANK = "***"

#: Names whose value is a secret. ``key`` alone is none: databases and registries name keys in their messages.
_NAME = (
    r"(?:token(?!s)|passw(?:or)?d|passphrase|passwd|pwd|secret|(?:api|access|account|private|signing|shared|auth|client)[_-]?key"
    r"|credentials?|signature|authorization|cookie|session[_-]?id)"
)
#: One of these is in each of the names.
_NAMES = ("token", "passw", "passphrase", "pwd", "secret", "key", "credential", "signature", "authorization", "cookie", "session")
#: Between a name and its value: also as JSON in JSON, and percent-encoded.
_SIGN = r"""\\*["']?\s*(?:[=:]|%3[dD]|%3[aA])\s*"""
#: A value ends where its quote does, or at the next blank or sign that divides values.
_VALUE = r"""(?:\\*"(?:[^"\\]|\\[^"])*|'[^']*|[^\s&"'`,;(){}\[\]<>#\\]{4,})"""

_URL_NAME = (
    r"(?:key|sig|sign|auth|code|pass|jwt|sas|[\w.-]{0,40}(?:token|secret|signature|credential|password|api_?key)[\w-]{0,20})"
)

_ISSUED = (
    r"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}\b",  # AWS access key ids
    r"\bgh[pousr]_[A-Za-z0-9]{20,}|\bgithub_pat_\w{20,}|\bglpat-[\w-]{16,}",
    r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}|\bhttps://hooks\.slack\.com/services/[^\s\"'<>]+",
    r"\bAIza[\w-]{30,}|\bya29\.[\w.-]{16,}",  # Google
    r"\b(?:sk|rk|pk)[-_](?:live[-_]|test[-_]|proj-|ant-)?[A-Za-z0-9_-]{20,}|\bhf_[A-Za-z0-9]{20,}|\bdapi[a-f0-9]{32}\b",
    r"\beyJ[\w-]{6,}\.[\w-]{4,}(?:\.[\w-]*)?",  # JSON Web Tokens
    r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----[^-]*(?:-----END [A-Z ]{0,30}PRIVATE KEY-----)?",
)

#: Words that stand behind "bearer" and "basic" in sentences about authentication.
_WORDS = r"(?!(?i:tokens?|auth\w*|schemes?|credentials?|or|and|is|was|in|for|from|of|with|realm\b\S*)\b)"

#: A shape: texts of which one must be there (lower case), the pattern, and what is written in its place.
_Shape = tuple[tuple[str, ...], re.Pattern[str], str]


@cache
def _shapes() -> tuple[_Shape, ...]:
    """Compile the shapes; what stands before a secret is kept as group 1."""
    kept = rf"\g<1>{BLANK}"
    issuers = (
        "akia",
        "asia",
        "abia",
        "acca",
        "gh",
        "glpat-",
        "xox",
        "slack.com",
        "aiza",
        "ya29.",
        "sk",
        "rk",
        "pk",
        "hf_",
        "dapi",
    )
    # An address: all before the @; a password may hold a slash that nobody encoded.
    address = r"((?<=://))(?:[^/?#\s'\"<>]+|[^\s/?#@'\"<>:]+:(?!\d+[/?#])[^\s'\"<>@]+)@"
    return (
        ((*issuers, "eyj", "private key"), re.compile("|".join(_ISSUED)), BLANK),
        (("://",), re.compile(address), rf"\g<1>{BLANK}@"),
        (("@tcp(", "@unix("), re.compile(r"(\b[\w.-]{1,64}:)[^\s@'\"]{1,200}(?=@(?:tcp|unix)\()"), kept),
        (
            ("authorization",),
            re.compile(rf"(?i)(\bauthorization{_SIGN}\\*[\"']?(?:(?:[\w-]{{1,30}})\s+)?)[^\s\"'\\,;]+"),
            kept,
        ),
        (("cookie",), re.compile(r"(?i)(\b(?:set-)?cookie\"?\s*:\s*\"?)(?!\s|\*\*\*)[^\r\n\"]{4,}?(?=\"|\s+[\w-]+:\s|$)"), kept),
        (("bearer",), re.compile(rf"(?i)(\bbearer(?:\s|\+|%20)+){_WORDS}[^\s\"'\\,;)\]}}<>&]{{4,}}"), kept),
        (
            ("basic",),
            re.compile(rf"(\b(?i:basic)(?:\s|\+|%20)+){_WORDS}(?=[A-Za-z]*[A-Z0-9+/=])[A-Za-z0-9+/_-]{{8,}}={{0,2}}"),
            kept,
        ),
        (("?", "&", "%3f", "%26"), re.compile(rf"(?i)((?:[?&]|%3f|%26){_URL_NAME}(?:=|%3d))[^\s&\"'#<>\\]{{4,}}"), kept),
        (
            _NAMES,
            re.compile(rf"(?i)((?<!unrecognized )(?<!unexpected ){_NAME}[\w-]{{0,20}}{_SIGN})(?!\\*[\"']?\*\*\*){_VALUE}"),
            kept,
        ),
    )


def blank(text: str) -> str:
    """Blank out of a text what has the shape of a credential."""
    # A source may make the same error for each of 43,200 slices.
    return _blank_often(text) if len(text) <= _OFTEN else _blank(text)


def _blank(text: str) -> str:
    lower = text.lower()
    for words, pattern, form in _shapes():
        if any(map(lower.__contains__, words)):
            text = pattern.sub(form, text)
    return text


_blank_often = lru_cache(maxsize=256)(_blank)


@cache
def _secret_name() -> re.Pattern[str]:
    return re.compile(rf"(?i)(?:^|[\w.-]{{0,40}}[_.-]|x-){_NAME}s?$")


def is_secret_name(name: str) -> bool:
    """Whether a key, a label or a header of this name holds a secret."""
    return len(name) <= 100 and _secret_name().match(name) is not None
