"""Which metrics a PromQL expression names, and which values of labels it asks for. For tests of `deploy/`."""

import re
from dataclasses import dataclass, field

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_SELECTOR = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)?\s*\{([^{}]*)\}")
_MATCHER = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)\s*(=~|!~|!=|=)\s*"([^"]*)"')
_GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^()]*)\)")
_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_DURATION = re.compile(r"\[[^\]]*\]")
_WORDS = {"and", "or", "unless", "bool", "offset", "inf", "nan"}


@dataclass
class Named:
    """What an expression relies on. matchers: (metric, label, value) of all `label="value"`; grouping: label names."""

    metrics: set[str] = field(default_factory=set)
    matchers: set[tuple[str, str, str]] = field(default_factory=set)
    grouping: set[str] = field(default_factory=set)


def named_in(expression: str) -> Named:
    """What `expression` names. It must be valid; every selector has a name of its own."""
    named = Named()
    for metric, inside in _SELECTOR.findall(expression):
        assert metric, f"a selector without a name: {expression}"
        named.metrics.add(metric)
        for label, operator, value in _MATCHER.findall(inside):
            if operator == "=":
                named.matchers.add((metric, label, value))
    bare = _SELECTOR.sub(" ", expression)
    bare = _DURATION.sub(" ", _STRING.sub(" ", bare))
    for labels in _GROUPING.findall(bare):
        named.grouping |= {label.strip() for label in labels.split(",") if label.strip()}
    bare = _GROUPING.sub(" ", bare)
    for match in _NAME.finditer(bare):
        is_call = bare[match.end() :].lstrip().startswith("(")
        is_number = match.start() > 0 and bare[match.start() - 1].isdigit()
        if not is_call and not is_number and match.group().lower() not in _WORDS:
            named.metrics.add(match.group())
    return named
