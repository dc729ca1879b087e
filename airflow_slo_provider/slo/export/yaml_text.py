"""Write rule groups as YAML, byte for byte as PyYAML does, and much faster: most texts need no analysis."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

#: Text that is the same in YAML without quotes: too long for ``true`` or ``null``, no number, no indicator, not folded.
_PLAIN = re.compile(r"[A-Za-z](?:(?!: | #)[ -~]){5,5000}(?<![: ])")
#: Text that may stand in a literal block as it is.
_BLOCK = re.compile(r"[!-~](?:(?! \n)[ -~\n])*(?<![ \n])")
_LINE_BREAKS = re.compile("[\x85\u2028\u2029]")
_MAX_SIMPLE_KEY = 120


class Expression(str):
    """PromQL text that is written as a literal block."""


def format_item(item: Mapping[str, Any], indent: str) -> Iterator[str]:
    """Yield the lines of a mapping that is an item of a list.

    :param item: texts, mappings of texts, and lists of such items; none of them empty. Keys are words on one line
    :param indent: spaces before the dash
    """
    lead = f"{indent}- "
    for line in format_mapping(item, f"{indent}  "):
        yield lead + line[len(lead) :]
        lead = ""


def format_mapping(mapping: Mapping[str, Any], indent: str) -> Iterator[str]:
    """Yield the lines of a mapping.

    :param mapping: as in :func:`format_item`
    :param indent: spaces before each key
    """
    for key, value in mapping.items():
        text = _scalar(key)
        name = f"{indent}{text}:" if len(text) <= _MAX_SIMPLE_KEY else f"{indent}? {text}\n{indent}:"
        if isinstance(value, Mapping):
            yield name
            yield from format_mapping(value, f"{indent}  ")
        elif isinstance(value, list):
            yield name
            for item in value:
                yield from format_item(item, f"{indent}  ")
        elif isinstance(value, Expression):
            yield f"{name} {_block(value, indent)}"
        else:
            yield f"{name} {_indented(_scalar(value), indent)}"


def _block(text: Expression, indent: str) -> str:
    if _BLOCK.fullmatch(text) is None:
        return _indented(_dump(text), indent)
    return "|" + "".join(f"\n{indent}  {line}" if line else "\n" for line in text.split("\n"))


def _scalar(text: str) -> str:
    return text if _PLAIN.fullmatch(text) else _dump(text)


def _indented(text: str, indent: str) -> str:
    first, *more = text.split("\n")
    return "\n".join([first, *(f"{indent}{line}" if line else line for line in more)])


# An expression is equal to its text, and is written otherwise.
@lru_cache(maxsize=1024, typed=True)
def _dump(text: str) -> str:
    """Write a text as PyYAML does behind a key."""
    import yaml

    # YAML reads some characters of Unicode as line breaks too: only in double quotes are they written as what they are.
    quotes = '"' if _LINE_BREAKS.search(text) else None
    node = yaml.ScalarNode("tag:yaml.org,2002:str", text, style=quotes)
    if isinstance(text, Expression):
        node = yaml.ScalarNode(node.tag, f"{text}\n", style=quotes or "|")
    mapping = yaml.MappingNode("tag:yaml.org,2002:map", [(yaml.ScalarNode(node.tag, "k"), node)], flow_style=False)
    written: str = yaml.serialize(mapping, Dumper=yaml.SafeDumper, allow_unicode=True, width=10_000)
    # A block that ends with an empty line is followed by the end of the document.
    return written.removeprefix("k: ").removesuffix("...\n").removesuffix("\n")
