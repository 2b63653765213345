"""What the code may import, how long it may be, and what every part of it says of itself: read from the source."""

import ast
import importlib.util
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from reference.mistakes import MISTAKES, Patch
from reference.recipe import GPT1, GPT2, MICROGPT, Recipe

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("harness", "reference", "microgpt")
MICROGPT_SOURCE = (ROOT / "microgpt" / "microgpt.py").read_text(encoding="utf-8")
MAX_MODULE, MAX_FUNCTION = 420, 60

# From the bottom upwards: a module imports what stands below it, or beside it. A package stands for all in it.
LAYERS = (
    ("claims", "results", "givens", "positioned"),
    ("observables",),
    (
        "subjects",
        "compare",
        "derived",
        "proof",
        "trace",
        "syntax",
        "packages",
        "wheels",
        "evidence",
        "expressions",
        "inputs",
    ),
    ("checking", "relating", "rejecting", "judge", "loading", "sense", "shape"),
    ("run", "drift", "render", "describe"),
    ("cli",),
    ("__main__",),
)
LAYER = {f"harness.{name}": height for height, names in enumerate(LAYERS) for name in names}
IN_THE_SUBJECTS_PROCESS = [
    f"harness.subjects.{name}" for name in ("worker", "driving", "asking", "witnessing", "tracing")
]
WITHOUT_PACKAGES = [
    *IN_THE_SUBJECTS_PROCESS,
    "microgpt.microgpt",
    "reference.mistake",
    "reference.mistakes",
    "reference.catalogue_microgpt",
    "reference.catalogue_autograd",
    "reference.catalogue_program",
    "reference.catalogue_gpt2",
    "reference.recipe",
]
MACHINE_PATH = re.compile(r"(?<![\w.$}~-])/(?:home|Users|root|work|tmp|private|mnt)/\w|\b[A-Z]:\\{1,2}Users\b")


def _module(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


FILES = {_module(file): file for package in PACKAGES for file in sorted((ROOT / package).rglob("*.py"))}
HARNESS = [name for name in FILES if name.startswith("harness")]


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(FILES[module].read_text(encoding="utf-8"))


def imported(node: ast.AST) -> Iterator[str]:
    """The modules that one node imports: ours by their full name, others as they are written."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, "imports are absolute here"
        assert node.module is not None
        inside = [f"{node.module}.{alias.name}" for alias in node.names]
        ours = [name for name in inside if name in FILES]
        yield from ours
        if len(ours) < len(inside):
            yield node.module


@cache
def imports(module: str) -> frozenset[str]:
    """Everything that a module imports, inside its functions too."""
    return frozenset(name for node in ast.walk(tree(module)) for name in imported(node))


def at_once(module: str) -> set[str]:
    """What a module imports when it is imported itself, by the package where that is not ours."""
    functions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    nodes = [node for part in tree(module).body if not isinstance(part, functions) for node in ast.walk(part)]
    return {name if name in FILES else top(name) for node in nodes for name in imported(node)}


def top(name: str) -> str:
    return name.partition(".")[0]


def layer(module: str) -> int:
    name = ".".join(module.split(".")[:2])
    assert name in LAYER, f"{name} has no place in LAYERS"
    return LAYER[name]


# --- the direction of imports -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("module", FILES)
def test_packages_know_only_what_they_may(module):
    allowed = {"harness": {"harness", "reference"}, "reference": {"reference"}, "microgpt": {"microgpt"}}
    ours = {top(name) for name in imports(module)} & set(PACKAGES)
    assert ours <= allowed[top(module)]


@pytest.mark.parametrize("module", [name for name in HARNESS if FILES[name].name != "__init__.py"])
def test_no_import_of_the_harness_points_upward(module):
    inner = {name for name in imports(module) if top(name) == "harness"}
    upward = {name for name in inner if layer(name) > layer(module)}
    assert not upward, f"{module} stands below {', '.join(sorted(upward))}"
    if layer(module) == 0:
        assert not inner, "what everything leans on leans on nothing"


def test_no_imports_go_in_a_circle():
    graph = {module: {name for name in imports(module) if name in FILES} for module in FILES}
    order = list(TopologicalSorter(graph).static_order())  # raises CycleError, with the cycle
    assert set(order) == set(FILES)
    assert order.index("harness.compare") < order.index("harness.proof") < order.index("harness.trace")


@pytest.mark.parametrize("module", [name for name in FILES if FILES[name].name == "__init__.py"])
def test_a_package_itself_imports_nothing(module):
    assert not imports(module)


@pytest.mark.parametrize("module", WITHOUT_PACKAGES)
def test_some_modules_need_the_standard_library_and_one_another_alone(module):
    assert {name for name in imports(module) if top(name) not in sys.stdlib_module_names} <= set(WITHOUT_PACKAGES)


def test_pytorch_and_transformers_are_loaded_by_their_own_subjects_alone_and_when_those_are_needed():
    heavy = {"torch", "transformers"}
    while more := {name for name in FILES if name not in heavy and at_once(name) & heavy}:
        heavy |= more
    loaded = {name for name in heavy if top(name) in ("harness", "microgpt")}
    assert "harness.subjects.reference" in loaded
    assert {name.rpartition(".")[0] for name in loaded} == {"harness.subjects"}
    assert not loaded & {f"harness.subjects.{name}" for name in ("base", "process", "papers", "worker")}


def test_the_reader_of_imports_sees_every_form():
    source = "import a.b\ndef f():\n    from harness import trace, nothing\n    from c import d\n"
    found = {name for node in ast.walk(ast.parse(source)) for name in imported(node)}
    assert found == {"a.b", "harness.trace", "harness", "c"}


# --- sizes and descriptions -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("module", FILES)
def test_modules_are_short(module):
    assert len(FILES[module].read_text(encoding="utf-8").splitlines()) <= MAX_MODULE


@pytest.mark.parametrize("module", FILES)
def test_functions_are_short(module):
    functions = [node for node in ast.walk(tree(module)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    lengths = {node.name: (node.end_lineno or 0) - node.lineno + 1 for node in functions}
    assert {name: length for name, length in lengths.items() if length > MAX_FUNCTION} == {}


@pytest.mark.parametrize("module", FILES)
def test_every_module_and_all_that_is_public_in_it_says_what_it_is(module):
    kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    public = [node for node in tree(module).body if isinstance(node, kinds) and not node.name.startswith("_")]
    if top(module) != "microgpt":  # whose operations carry their derivatives beside them
        classes = [node for node in public if isinstance(node, ast.ClassDef)]
        inner = [node for owner in classes for node in owner.body if isinstance(node, kinds)]
        public += [node for node in inner if not node.name.startswith("_")]
    assert ast.get_docstring(tree(module))
    assert [node.name for node in public if not ast.get_docstring(node)] == []


# --- counterexamples --------------------------------------------------------------------------------------------------


def base(name: str) -> Recipe:
    """The recipe that a mistake is an edit of."""
    return GPT2 if name.startswith("gpt2-") else GPT1 if name.startswith("gpt1-") else MICROGPT


@cache
def module_of_transformers(file: str) -> str:
    package = importlib.util.find_spec("transformers")
    if package is None or package.origin is None:
        pytest.skip("transformers is not installed")
    return Path(package.origin).with_name("models").joinpath("gpt2", f"{file}.py").read_text(encoding="utf-8")


def changes(patched: str, source: str) -> bool:
    """Whether a source compiles, and is another in more than a comment."""
    compile(patched, "patched", "exec")
    return ast.dump(ast.parse(patched)) != dumped(source)


@cache
def dumped(source: str) -> str:
    return ast.dump(ast.parse(source))


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_can_be_made_and_is_described(name):
    mistake = MISTAKES[name]
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name)
    assert mistake.component
    assert mistake.sentence
    assert mistake.recipe or mistake.patch or mistake.module


@pytest.mark.parametrize("name", [name for name, mistake in MISTAKES.items() if mistake.patch])
def test_a_patch_applies_once_to_microgpt_and_compiles(name):
    patch = MISTAKES[name].patch
    assert MICROGPT_SOURCE.count(patch.old) == 1
    assert changes(patch.apply(MICROGPT_SOURCE), MICROGPT_SOURCE)


@pytest.mark.parametrize("name", [name for name, mistake in MISTAKES.items() if mistake.module])
def test_a_patch_of_a_module_fits_the_installed_release_and_compiles(name):
    source = module_of_transformers(MISTAKES[name].module.file)
    assert changes(MISTAKES[name].module.apply(source), source)


@pytest.mark.parametrize("name", [name for name, mistake in MISTAKES.items() if mistake.recipe])
def test_an_edit_of_a_recipe_is_valid_and_changes_all_that_it_names(name):
    edits = MISTAKES[name].recipe
    assert set(base(name).edited(edits).differences(base(name))) == set(edits)


def test_no_two_mistakes_are_the_same_edit():
    for of in ("patch", "module", "recipe"):
        made = [(base(name), edit) for name, mistake in MISTAKES.items() if (edit := getattr(mistake, of))]
        assert [edit for i, (_, edit) in enumerate(made) if made[i] in made[:i]] == []


@pytest.mark.parametrize(("source", "times"), [("b = 2", 0), ("a = 1; a = 1", 2), ("", 0)])
def test_a_patch_that_does_not_apply_exactly_once_is_refused(source, times):
    with pytest.raises(ValueError, match=f"occurs {times} times"):
        Patch("a = 1", "a = 2").apply(source)


# --- the repository ---------------------------------------------------------------------------------------------------


def test_no_file_names_a_place_on_somebodys_machine():
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("which files are part of the repository is known in a git checkout only")
    command = [git, "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    texts = {name: (ROOT / name).read_bytes() for name in names if name and (ROOT / name).is_file()}
    assert len(texts) > len(FILES)
    lines = [
        f"{name}:{number}: {line.strip()}"
        for name, content in texts.items()
        if b"\0" not in content
        for number, line in enumerate(content.decode("utf-8").splitlines(), 1)
        if MACHINE_PATH.search(line)
    ]
    assert lines == []


@pytest.mark.parametrize(
    "text", ["see {}home/x", "'{}tmp/a'", "={}Users/me", "C:{back}Users{back}me", "file://{}root/a"]
)
def test_a_place_on_a_machine_is_recognised(text):
    assert MACHINE_PATH.search(text.format("/", back="\\"))
    assert not MACHINE_PATH.search("https://example.org/home/x, $HOME/work/x, ~/tmp/x, a/root/b")
