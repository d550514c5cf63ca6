"""Every figure that a scenario can find has words of its own; which ones there are is read from the scenarios' code."""

import ast
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.figures import GOALS
from bench.peers import results
from bench.peers.contender import Round
from bench.peers.install import PEERS
from bench.peers.record import Step
from bench.words import words_of

ROOT = Path(__file__).parents[3]
SCENARIOS = sorted(
    path
    for path in (ROOT / "bench" / "scenarios").glob("*.py")
    if path.name not in ("__init__.py", "peers.py")
)


class ScenarioCode:
    """A scenario's module. Ids of figures are keys of the dicts from which its findings are made.

    An id that is put together is followed to what it is put together from; a number in it is taken as 7.
    """

    def __init__(self, source: str) -> None:
        self._tree = ast.parse(source)

    def ids(self) -> set[str]:
        """Of every figure that it may find. AssertionError where it is written so that this cannot tell."""
        found: set[str] = set()
        for function in ast.walk(self._tree):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                for key in self._keys(function):
                    found |= self._texts(key, function)
        return found

    def _keys(self, function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[ast.expr]:
        for node in ast.walk(function):
            match node:
                case ast.Assign(targets=[ast.Name("figures")], value=value):
                    yield from self._dict_keys(value)
                case ast.AnnAssign(target=ast.Name("figures"), value=value) if value is not None:
                    yield from self._dict_keys(value)
                case ast.AugAssign(target=ast.Name("figures"), value=value):
                    yield from self._dict_keys(value)
                case ast.Assign(targets=[ast.Subscript(value=ast.Name("figures"), slice=key)]):
                    yield key
                case ast.Call(func=ast.Name("Findings"), args=[given, *_]):
                    yield from self._dict_keys(given)
                case ast.Return(value=value) if value is not None and _gives_figures(function):
                    yield from self._dict_keys(value)

    def _dict_keys(self, node: ast.expr) -> Iterator[ast.expr]:
        """None of what is read elsewhere: the variable, parts put together, a function that gives figures."""
        match node:
            case ast.Name("figures"):
                return
            case ast.DictComp(generators=[_, ast.comprehension(iter=each)]):
                assert ast.unparse(each) == "part.figures.items()", ast.unparse(node)
            case ast.Call(func=ast.Name(name)) if _gives_figures(self._function(name)):
                return
            case ast.Dict():
                for key, value in zip(node.keys, node.values, strict=True):
                    if key is None:
                        yield from self._dict_keys(value)
                    else:
                        yield key
            case _:
                raise AssertionError(f"cannot tell which figures these are: {ast.unparse(node)}")

    def _texts(self, node: ast.expr, function: ast.FunctionDef | ast.AsyncFunctionDef) -> set[str]:
        match node:
            case ast.Constant(str(text)):
                return {text}
            case ast.IfExp():
                return self._texts(node.body, function) | self._texts(node.orelse, function)
            case ast.JoinedStr():
                texts = {""}
                for value in node.values:
                    part = value.value if isinstance(value, ast.FormattedValue) else value
                    texts = {text + more for text in texts for more in self._texts(part, function)}
                return texts
            case ast.Name(name) if name.endswith("_count"):
                return {"7"}
            case ast.Name(name):
                return self._values(name, function)
        raise AssertionError(f"cannot tell which id this is: {ast.unparse(node)}")

    def _values(self, name: str, function: ast.FunctionDef | ast.AsyncFunctionDef) -> set[str]:
        """Of a variable, or of a parameter by all who call the function."""
        found: set[str] = set()
        parameters = [each.arg for each in function.args.args]
        for node in ast.walk(self._tree if name in parameters else function):
            match node:
                case ast.Call(func=ast.Name(called)) if called == function.name and name in parameters:
                    found |= self._texts(node.args[parameters.index(name)], function)
                case ast.Assign(targets=[ast.Name(target)]) if target == name and name not in parameters:
                    found |= self._texts(node.value, function)
        assert found, f"cannot tell what {name} is"
        return found

    def _function(self, name: str) -> ast.FunctionDef | ast.AsyncFunctionDef | None:
        functions = (ast.FunctionDef, ast.AsyncFunctionDef)
        return next((n for n in ast.walk(self._tree) if isinstance(n, functions) and n.name == name), None)


def _gives_figures(function: ast.FunctionDef | ast.AsyncFunctionDef | None) -> bool:
    returns = function.returns if function else None
    return returns is not None and ast.unparse(returns) == "dict[str, Figure]"


def found_by(path: Path) -> set[str]:
    return ScenarioCode(path.read_text()).ids()


def contest_ids() -> set[str]:
    """Of a contest of all libraries in which all can be measured."""
    step = Step(10, 5.0, 1.0, 6.0, 9.0, 100.0, 300.0, 0.005, 20, 0)
    cheap = Step(10, 5.0, 1.0, 6.0, 9.0, 10.0, 30.0, 0.0005, 20, 0)
    rounds = {results.OURS: [Round([6.0], 0, [step], {})]}
    for suffix in ("", results.TUNED):
        rounds[results.HARNESS + suffix] = [Round([6.0], 0, [cheap], {})]
        for peer in PEERS.values():
            rounds[peer.id + suffix] = [Round([6.0], 0, [step], {})]
    return set(results.figures(rounds))


def all_ids() -> set[str]:
    return contest_ids().union(GOALS, *map(found_by, SCENARIOS))


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_every_figure_of_a_scenario_has_words(path: Path) -> None:
    found = found_by(path)
    assert found, "no figure found in its code"
    wordless = sorted(name for name in found if not words_of(name))
    assert not wordless, f"give them words in bench/words.py: {wordless}"


def test_every_figure_of_a_contest_has_words() -> None:
    found = contest_ids()
    assert len(found) > 20 * len(PEERS)
    assert not sorted(name for name in found if not words_of(name))


def test_no_two_figures_have_the_same_words_and_none_are_too_long_for_a_line() -> None:
    words = [words_of(name) for name in sorted(all_ids())]
    assert len(set(words)) == len(words), sorted({each for each in words if words.count(each) > 1})
    assert not [each for each in words if len(each) > 80]


def test_what_a_report_has_is_what_the_code_was_seen_to_find() -> None:
    measured = json.loads((ROOT / "docs" / "bench" / "report.json").read_text())["figures"]
    known = {name.replace("_7_minutes", "_3_minutes") for name in all_ids()}
    assert measured.keys() <= known


def test_ids_are_read_from_all_ways_to_write_them_and_other_ways_are_refused() -> None:
    code = """
async def run(bench):
    figures = {"first": await _first(bench), **_more("second")}
    figures |= _more("third")
    if figures:
        figures["fourth"] = one
    name = "fifth" if bench.is_short else f"fifth_{minute_count}_minutes"
    return Findings({name: one})

def _more(name: str) -> dict[str, Figure]:
    return {f"{name}_p50_ms": quantile_figure(values)}
"""
    read = ScenarioCode(code).ids()
    assert read == {"first", "second_p50_ms", "third_p50_ms", "fourth", "fifth", "fifth_7_minutes"}
    for unreadable in ("Findings(found)", "Findings({names[0]: one})", "Findings({missing: one})"):
        with pytest.raises(AssertionError, match="cannot tell"):
            ScenarioCode(f"def run(bench):\n    return {unreadable}").ids()


def test_a_figure_that_nobody_has_named_has_no_words() -> None:
    assert words_of("pipecat_charm_ratio") == ""
    assert words_of("asr_cost_growth_x_minutes") == ""
