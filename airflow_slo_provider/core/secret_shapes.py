"""Detect credentials by their shape: a token after its scheme or its name, or a key with its issuer's prefix.

A server may quote credentials of others: another client's header, the URL of a backend store. The patterns redact rather too
much than too little; words of this provider's own messages ("a bearer token", "basic authentication") are kept.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache

#: Maximum length of a text whose redaction is cached.
_OFTEN = 500
#: Replaces a secret.
BLANK = "***"

#: Names whose value is a secret. ``key`` alone is not one: databases and registries name keys in their messages.
_NAME = (
    r"(?:token(?!s)|passw(?:or)?d|passphrase|passwd|pwd|secret|(?:api|access|account|private|signing|shared|auth|client)[_-]?key"
    r"|credentials?|signature|authorization|cookie|session[_-]?id)"
)
#: Every name contains one of these.
_NAMES = ("token", "passw", "passphrase", "pwd", "secret", "key", "credential", "signature", "authorization", "cookie", "session")
#: Between a name and its value, also in JSON within JSON, and percent-encoded.
_SIGN = r"""\\*["']?\s*(?:[=:]=?>?|->|%3[dD]|%3[aA])\s*(?:[|>][-+]?\s+)?"""
#: A value ends at its closing quote, or at the next blank or separator.
_VALUE = r"""(?:"(?:[^"\\]|\\[\s\S])*|\\+"(?:[^"\\]|\\[^"])*|'[^']*|[^\s&"'`,;(){}\[\]<>#\\]{4,})"""

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

#: Words that follow "bearer" and "basic" in sentences about authentication.
_WORDS = r"(?!(?i:tokens?|auth\w*|schemes?|credentials?|or|and|is|was|in|for|from|of|with|realm\b\S*)\b)"

#: Escapes of letters in JSON, URLs and HTML, and Unicode lookalikes.
_ESCAPED = re.compile(
    r"\\{1,4}(?:[/nrt]|u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2})|%[2-7][0-9a-fA-F]|%0[9adAD]|&(?:quot|apos|amp|lt|gt|#[0-9]{1,5}|#[xX][0-9a-fA-F]{1,4});"
    "|[\u00ad\u200b-\u200d\u2060\ufeff\uff01-\uff5e]"
)
#: Maximum nesting of escapes.
_DEPTH = 2

#: A shape: texts of which one must occur (lower case), and the pattern; group 1 is the text before the secret.
_Shape = tuple[tuple[str, ...], re.Pattern[str]]


@cache
def _shapes() -> tuple[_Shape, ...]:
    """Compile the shapes."""
    issuers = ("akia", "asia", "abia", "acca", "gh", "glpat-", "xox", "slack.com", "aiza", "ya29.", "sk", "rk", "pk")
    # A URL: everything before the @; a password may contain an unencoded slash.
    address = r"(?<=://)(?:[^/?#\s'\"<>]+|[^\s/?#@'\"<>:]+:(?!\d+[/?#])[^\s'\"<>@]+)(?=@)"
    scheme = r"(?:\s|\+|%20)+"
    named = rf"(?<!unrecognized )(?<!unexpected ){_NAME}[\w-]{{0,20}}"
    unblanked = r"(?!\\*[\"']?\*\*\*)"
    shapes = (
        ((*issuers, "hf_", "dapi", "eyj", "private key"), "|".join(_ISSUED)),
        (("://",), address),
        (("@tcp(", "@unix("), r"(\b[\w.-]{1,64}:)[^\s@'\"]{1,200}(?=@(?:tcp|unix)\()"),
        (("authorization",), rf"(?i)(\bauthorization{_SIGN}\\*[\"']?(?:(?:[\w-]{{1,30}})\s+)?)[^\s\"'\\,;]+"),
        (("cookie",), r"(?i)(\b(?:set-)?cookie\"?\s*:\s*\"?)(?!\s|\*\*\*)[^\r\n\"]{4,}?(?=\"|\s+[\w-]+:\s|$)"),
        (("bearer",), rf"(?i)(\bbearer{scheme}){_WORDS}[^\s\"'\\,;)\]}}<>&]{{4,}}"),
        (("basic",), rf"(\b(?i:basic){scheme}){_WORDS}(?=[A-Za-z]*[A-Z0-9+/=])[A-Za-z0-9+/_-]{{8,}}={{0,2}}"),
        (("?", "&", "%3f", "%26"), rf"(?i)((?:[?&]|%3f|%26){_URL_NAME}(?:=|%3d))[^\s&\"'#<>\\]{{4,}}"),
        (_NAMES, rf"(?i)({named}{_SIGN}){unblanked}{_VALUE}"),
        (_NAMES, rf"(?i)(<(?:[\w-]{{1,40}}[:.])?[\w-]{{0,20}}?{_NAME}[\w-]{{0,20}}>\s*){unblanked}[^\s<>][^<>]*"),  # XML
        # Command lines.
        (_NAMES, rf"(?i)((?<![\w-])--?[\w-]{{0,20}}?{_NAME}[\w-]{{0,20}}\s+){unblanked}(?!-){_VALUE}"),
        (("-u", "-user"), r"((?<![\w-])(?:-u|--(?:proxy-)?user)(?:\s{1,9}|=)?[\"']?[\w.@+-]{1,64}:)[^\s\"']+"),
        (("sshpass", "mysql"), r"(\b(?:sshpass|mysql\w{0,10})\s{1,9}-p\s?)[^\s-]\S{3,}"),
        # Code: auth=("login", "password"), HTTPBasicAuth(...); SQL.
        (("auth",), r"(?i)(auth\w{0,10}[\"']?\s?[=:]?\s?[(\[]\s?b?[\"'][^\"'\s]{0,64}[\"']\s?,\s?b?[\"'])[^\"']+"),
        (("identified", "password"), r"(?i)(\b(?:identified\s(?:with\s\S{1,40}\s)?by|password)\s{1,9}[\"'])[^\"']{4,}"),
    )
    return tuple((words, re.compile(pattern)) for words, pattern in shapes)


def blank(text: str) -> str:
    """Redact texts that have the shape of a credential, also where letters are escaped."""
    # Cached, because a source may report the same error for each of 43,200 slices.
    return _redact_cached(text) if len(text) <= _OFTEN else _redact(text)


def _redact(text: str) -> str:
    parts, position = [], 0
    for start, end in _merge_overlaps(_secrets(text, _DEPTH)):
        parts += [text[position:start], BLANK]
        position = end
    return "".join([*parts, text[position:]])


_redact_cached = lru_cache(maxsize=256)(_redact)


def _secrets(text: str, depth: int) -> list[tuple[int, int]]:
    """Return the positions of secrets in a text and in its unescaped form."""
    lower, found = text.lower(), []
    for words, pattern in _shapes():
        if any(map(lower.__contains__, words)):
            found += [(match.end(1) if pattern.groups else match.start(), match.end()) for match in pattern.finditer(text)]
    if depth and _ESCAPED.search(text):
        plain, places = _unescape(text)
        found += [(places[start], places[end]) for start, end in _secrets(plain, depth - 1)]
    return found


def _merge_overlaps(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Merge overlapping spans and return them in order."""
    out: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if out and start < out[-1][1]:
            out[-1] = (out[-1][0], max(end, out[-1][1]))
        else:
            out.append((start, end))
    return out


def _unescape(text: str) -> tuple[str, list[int]]:
    """Unescape a text, and return the original position of each character and of the end."""
    parts: list[str] = []
    places: list[int] = []
    position = 0
    for match in _ESCAPED.finditer(text):
        letter = _unescape_letter(match[0])
        parts += [text[position : match.start()], letter]
        places += [*range(position, match.start()), *[match.start()] * len(letter)]
        position = match.end()
    return "".join([*parts, text[position:]]), [*places, *range(position, len(text) + 1)]


def _unescape_letter(escaped: str) -> str:
    if escaped[0] == "&":
        import html

        return html.unescape(escaped)
    if escaped[0] == "%":
        return chr(int(escaped[1:], 16))
    if escaped[0] == "\\":
        code = escaped.lstrip("\\")
        return chr(int(code[1:], 16)) if code[0] in "ux" else "/" if code == "/" else " "
    return chr(ord(escaped) - 0xFEE0) if escaped >= "\uff01" and escaped != "\ufeff" else ""


@cache
def _secret_name() -> re.Pattern[str]:
    return re.compile(rf"(?i)(?:^|[\w.-]{{0,40}}[_.-]|x-){_NAME}s?$")


def is_secret_name(name: str) -> bool:
    """Return whether a key, a label or a header of this name holds a secret."""
    return len(name) <= 100 and _secret_name().match(name) is not None
