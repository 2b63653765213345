"""One claim: keys, types and meanings that are odd are refused, each once, in its line, with what mends it."""

import pytest
from test_loading import CLAIM, edited, line_of, problems_of, refused, written

from harness.loading import load

CHECK = CLAIM[CLAIM.index("  - id: one") :]
RELATION = "    equals: torch\n"
LIMIT = ("at_most: 1", "because: x")
BOUND = ("equals: paper", "within:", "  relative: 1.0e-3", "  because: x")
BY = "by: {at_least: 0.1, because: x}"
ITSELF = ("equals:", "  itself:", "    given:", "      times: 2.0")


def giving(*lines):
    """An edit: something else is given."""
    return "      probe: offset\n", "".join(f"      {line}\n" for line in lines)


def related(*lines):
    """An edit: another relation."""
    return RELATION, "".join(f"    {line}\n" for line in lines)


ALONE = ("    counterexamples:\n      - layer-norm\n", "")
LOGITS = ("rms_norm", "logits")
START = [("rms_norm", "optimizer_start"), giving("probe: stress")]
SYMBOLS = ("of: microgpt", "of: microgpt\n    in: symbols")


ODD = {
    # a key of another name: the edits, how the line begins, and what is said
    "in a check": ([("    of: microgpt", "    of: microgpt\n    att: y")], "att:", "unknown key 'att'", "mean 'at'?"),
    "in a check, a word": ([("of: microgpt", "of: microgpt\n    inn: digits")], "inn:", "'inn'", "mean 'in'?"),
    "in evidence": ([("    locator: eq. 4", "    locator: x\n    qoute: x")], "qoute:", "'qoute'", "mean 'quote'?"),
    "in words": ([("    by: [one]", "    by: [one]\n    cite: x")], "cite:", "'cite'", "mean 'cites'?"),
    "in given": ([giving("seeds: 2", "widht: 4")], "widht:", "unknown key 'widht'", "mean 'width'?"),
    "of another given": ([giving("n_head: 2")], "n_head:", "unknown key 'n_head'", "scales, seeds, shift"),
    "in paper": ([related("equals:", "  paper:", "    eps_undr_root: 1.0")], "eps_undr", "mean 'eps_under_root'?"),
    "in torch": ([related("equals:", "  torch:", "    atention: sdpa")], "atention:", "mean 'attention'?"),
    "in itself": ([related("equals:", "  itself:", "    givn: {}")], "givn:", "mean 'given'?"),
    "in its given": ([related(*ITSELF[:3], "      tmes: 2.0")], "tmes:", "unknown key 'tmes'", "mean 'times'?"),
    # a value that is not known
    "observable": ([("observe: rms_norm", "observe: rms_nrm")], "observe:", "'rms_nrm'", "mean 'rms_norm'?"),
    "subject": ([("of: microgpt", "of: micrgpt")], "of:", "'micrgpt'", "mean 'microgpt'?"),
    "reading": ([("of: microgpt", "of: microgpt\n    in: symbls")], "in:", "'symbls' for 'in'", "mean 'symbols'?"),
    "counterexample": ([("- layer-norm", "- layer-nrm")], "- layer-nrm", "'layer-nrm'", "mean 'layer-norm'?"),
    "right side": ([related("equals: toch")], "equals:", "unknown value 'toch' for 'equals'", "mean 'torch'?"),
    "right side with options": ([related("equals: {toch: {}}")], "equals:", "'toch'", "mean 'torch'?"),
    "no right side": ([related("equals: {}")], "equals:", "'equals' cannot be {}. It is one of: "),
    "two right sides": ([related("equals: {torch: {}, paper: {}}")], "equals:", "names torch and paper. Give one of"),
    "an empty right side": ([related("equals:")], "- id: one", "'one' names no relation. Give one of equals"),
    "a number for it": ([related("equals: 5")], "equals:", "'equals' cannot be 5. It is one of: "),
    "options for a name": ([related("equals: {huggingface: {}}")], "equals:", "no options. Write equals: huggingface"),
    "a name for options": ([related("equals: itself")], "equals:", "takes more than its name. Write equals: {itself:"),
    "bound": ([related("equals: torch", "within: roundng")], "within:", "'roundng' for 'within'", "'rounding'?"),
    "bound without number": ([related("equals: torch", "within: relative")], "within:", "Write within: {relative:"),
    "subject with options": ([("of: microgpt", "of: {gtp2: {}}")], "of:", "'of' cannot be 'gtp2'", "mean 'gpt2'?"),
    "cited source": ([("source: zhang-2019", "source: zhang-2091")], "- source: zhang", "mean 'zhang-2019'?"),
    "source of code": ([("source: subject", "source: subjct")], "- source: subj", "'subjct'", "'subject'."),
    "source of words": ([("    by: [one]", "    cites: zang-2019")], "cites:", "'zang-2019'", "mean 'zhang-2019'?"),
    "check of words": ([("by: [one]", "by: [oen]")], "by:", "no check 'oen'", "mean 'one'?"),
    "array": ([related("equals: torch", "at: x")], "at:", "has no array 'x'", "one of: y."),
    # a type
    "section of words": ([("section: 1", "section: one")], "section:", "'section' takes a whole number, not 'one'"),
    "section of truth": ([("section: 1", "section: true")], "section:", "takes a whole number, not True"),
    "id of two words": ([("id: a", "id: A b")], "id: A", "'id'", "not 'A b'"),
    "text as evidence": ([("  - source: zhang-2019\n    locator: eq. 4", "  - eq. 4")], "- eq", "mapping, not 'eq. 4'"),
    "text as check": ([(CHECK, "  - one\n")], "- one", "takes a mapping, not 'one'"),
    "no checks": ([("checks:\n" + CHECK, "checks: []\n")], "checks:", "at least 1 item"),
    "text as size": ([giving("width: x")], "width:", "'width' takes a whole number or a list, not 'x'. Change"),
    "text among sizes": ([giving("width: [4, x]")], "width:", "'width' takes a whole number, not 'x'."),
    "no size": ([giving("width: []")], "width:", "'width' takes at least 1 item, not []. Add one."),
    "size of nothing": ([giving("width: 0")], "width:", "'width'", "greater than or equal to 1, not 0."),
    "unknown regime": ([("rms_norm", "adam"), giving("regime: [normal, nrmal]")], "regime:", "mean 'normal'?"),
    "empty title": ([("title: T", "title: ''")], "title:", "'title' takes at least 1 word, not ''."),
    "long text as number": ([giving(f"shift: {'x' * 99}")], "shift:", "a number, not 'xxxx", "xxx...'. Change"),
    "number too large": ([giving(f"shift: 1{'0' * 400}")], "shift:", "is too large for a float"),
    "no number": ([giving("shift: .nan")], "shift:", "'.nan' is not finite"),
    "no limit": ([related("at_most: .inf", "because: x")], "at_most:", "'.inf' is not finite"),
    "a limit that is no number": ([related("at_most: .nan", "because: x")], "at_most:", "'.nan' is not finite"),
    "no bound": ([related(*BOUND[:2], "  absolute: .inf", "  because: x")], "absolute:", "'.inf' is not finite"),
    # relations and bounds
    "two relations": ([related("equals: torch", *LIMIT)], "at_most:", "names equals and at_most", "Give one of"),
    "within, differs": ([related("differs: torch", "within: exactly", BY)], "within:", "'within' goes with equals."),
    "by, equals": ([related("equals: torch", BY)], "by: {", "'by' goes with differs."),
    "differs without by": ([related("differs: torch")], "differs:", "differs needs 'by'", "by how much"),
    "no relation": ([related()], "- id: one", "the check 'one' names no relation", "Give one of"),
    "because, equals": ([related("equals: torch", "because: x")], "because:", "'because' goes with at_most", "within"),
    "because, differs": ([related("differs: torch", BY, "because: x")], "because:", "'because' goes with at_most"),
    "within, a proof": (
        [SYMBOLS, related(*BOUND)],
        "within:",
        "'within' is not looked at in 'symbols', which has no bound. Remove",
    ),
    "limit, a proof": ([SYMBOLS, related(*LIMIT)], "at_most:", "at_most cannot be decided in 'symbols'. Use equals"),
    "differs, digits": (
        [("of: microgpt", "of: microgpt\n    in: digits"), related("differs: paper", BY)],
        "differs:",
        "differs cannot be decided in 'digits'.",
    ),
    "literal, a proof": ([SYMBOLS, related("at: y", "equals: {value: 0}")], "equals:", "Write equals: paper"),
    "text for numbers": ([related("at: y", "equals: {value: x}")], "equals:", "gives numbers, not 'x'. Write a number"),
    "truth for numbers": ([related("equals: {value: {y: [true]}}")], "equals:", "gives numbers, not [True]."),
    "array of a literal": ([related("equals: {value: {z: 0}}")], "equals:", "has no array 'z'. It is one of: y."),
    "literal of no array": ([related("equals: {value: {}}")], "equals:", "nothing is compared. Write {value: {NAME:"),
    "literal of another": (
        [("rms_norm", "adam"), giving("steps: 2"), related("at: m", "equals: {value: {v: 0}}")],
        "at:",
        "the literal names v, and not 'm'.",
    ),
    "eps of another": (
        [("rms_norm", "softmax"), related("equals: {paper: {eps_under_root: 1.0e-5}}")],
        "equals:",
        "'eps_under_root' changes nothing in 'softmax'. It goes with rms_norm and logits.",
    ),
    "activation of another": (
        [related("equals:", "  paper:", "    activation: relu")],
        "activation:",
        "'activation' changes nothing in 'rms_norm'. It goes with activation.",
    ),
    "itself unchanged": ([related("equals:", "  itself: {}")], "itself:", "where nothing has changed", "Give what"),
    "itself with the same": ([related(*ITSELF[:3], "      times: 1.0")], "given:", "nothing has changed"),
    "more cases of itself": ([related(*ITSELF[:3], "      seeds: 2")], "given:", "1 cases are compared with 2"),
    "by, no reason": ([related("differs: torch", BY.replace(", because: x", ""))], "by: {", "'because' is missing."),
    "at_most, no reason": ([related("at_most: 1")], "at_most:", "at_most needs 'because'. Say why"),
    "at_least, no reason": ([related("at_least: 1")], "at_least:", "at_least needs 'because'."),
    "bound, no reason": ([related("equals: torch", "within: {relative: 0.1}")], "within:", "'because' is missing."),
    "literal without at": ([related("equals: {value: 0}")], "equals:", "needs 'at'", "Add at: NAME"),
    "torch in symbols": ([SYMBOLS], "equals:", "compared with paper. Write equals: paper"),
    "itself in symbols": ([SYMBOLS, related(*ITSELF)], "equals:", "only float64", "Remove 'in'."),
    "seeds of a proof": ([SYMBOLS, related("equals: paper"), giving("seeds: 2")], "seeds:", "a proof needs no seeds"),
    "reading of another": ([LOGITS, giving("length: 2"), SYMBOLS, related("equals: paper")], "in:", "It is read in: "),
    "reference of another": (START, "equals:", "PyTorch cannot be asked for 'optimizer_start'."),
    # counterexamples
    "itself without": ([related(*ITSELF), ALONE], "- id: one", "names no counterexample"),
    "a literal without": ([related("at: y", "equals: {value: 0}"), ALONE], "- id: one", "it can fail. Add"),
    "differs without": ([related("differs: torch", BY), ALONE], "- id: one", "names no counterexample", "Add"),
    "a limit without": ([related(*LIMIT), ALONE], "- id: one", "names no counterexample", "Add counterexamples"),
    "a recipe, traced": (
        [SYMBOLS, related("equals: paper"), ("layer-norm", "rms-eps-maximum")],
        "- rms-eps-maximum",
        "'rms-eps-maximum' cannot be made where 'rms_norm' of 'microgpt' in 'symbols' is observed. Use one that is",
    ),
    "a recipe that torch cannot show": (
        [*START, related("equals: paper"), ("layer-norm", "adam-sgd")],
        "- adam-sgd",
        "cannot be made where 'optimizer_start' of 'microgpt' in 'float64' is observed. Use one that is a patch of it",
    ),
    "a patch of another subject": ([("layer-norm", "gpt2-no-final-norm")], "- gpt2-no-final-norm", "cannot be made"),
    "one twice": ([("- layer-norm", "- rms-no-eps\n      - rms-no-eps")], "- rms-no-eps", "named twice. Remove one."),
    # words, evidence, sizes
    "other words": ([("text: some words", "text: other words")], "- text:", "does not occur in the claim"),
    "two checks of one id": ([(CHECK, CHECK + CHECK)], "- id: one", "'one' is used twice. Rename one."),
    "half a pattern": ([("find: f($X)", "find: f($X")], "find:", "'f($X' is not one statement or expression"),
    "a comment": ([("find: f($X)", "find: '# f'")], "find:", "'# f' is not one statement or expression"),
    "two statements": ([("find: f($X)", "find: a; b")], "find:", "'a; b' is not one", "Write one that is whole"),
    "an item twice": ([giving("width: [4, 16, 4]")], "width:", "'width' names 4 twice. Remove one."),
    "cases": (
        [giving("seeds: 1000", "width: [1, 2, 3, 4]", "scales: [1.0, 2.0, 3.0]")],
        "given:",
        "12,000 cases",
        "10,000",
    ),
    "heads": ([LOGITS, giving("n_head: 3")], "given:", "3 heads do not divide", "of 16"),
    "length": ([LOGITS, giving("length: 17")], "given:", "length 17 does not fit", "at most 16"),
    "sizes of itself": ([LOGITS, giving("length: 2"), related(*ITSELF[:3], "      length: 17")], "given:", "length 17"),
}


@pytest.mark.parametrize("name", ODD)
def test_one_odd_thing_is_refused_once_in_its_line_with_what_mends_it(tmp_path, name):
    edits, start, *words = ODD[name]
    text = edited(*edits)
    ((line, message),) = refused(tmp_path, text)
    assert all(part in message for part in words), message
    assert line == line_of(text, start)


@pytest.mark.parametrize(
    ("key", "wrong", "owner"),
    [
        ("title", "titel", "id: a"),
        ("section", "secton", None),
        ("observe", "obsreve", "- id: one"),
        ("locator", "locater", "- source: zhang-2019"),
        ("title", None, "id: a"),
        ("about", None, "id: a"),
        ("of", None, "- id: one"),
    ],
)
def test_a_misspelt_key_is_refused_in_its_line_and_a_needed_one_missed_by_its_owner(tmp_path, key, wrong, owner):
    (line,) = (line for line in CLAIM.splitlines(keepends=True) if line.strip(" -").startswith(f"{key}:"))
    text = edited((line, line.replace(key, wrong) if wrong else ""))
    expected = [(line_of(text, owner), f"the key {key!r} is missing. Add it.")] if owner else []
    if wrong:
        expected.append((line_of(text, wrong), f"unknown key {wrong!r}. Did you mean {key!r}?"))
    assert refused(tmp_path, text) == sorted(expected)


def test_the_place_has_a_column_too(tmp_path):
    (problem,) = problems_of(written(tmp_path, edited(("probe: offset", "probe: ofset"))))
    assert str(problem).startswith(f"{tmp_path / '0.yaml'}:21:7: unknown value 'ofset'")


@pytest.mark.parametrize(
    ("edits", "places"),
    [
        ([("inside:", "insde:")], {"insde:": "unknown key 'insde'"}),
        ([("find: f($X)", "absent: f($X")], {"absent:": "'f($X'"}),
        ([giving("widht: 4"), related(*ITSELF)], {"widht:": "unknown key 'widht'"}),
        (
            [related(*BOUND[:3], "  becuase: x")],
            {"within:": "the key 'because' is missing", "becuase:": "unknown key 'becuase'. Did you mean 'because'?"},
        ),
        (
            [giving("width: x"), related(*ITSELF[:3], "      tmes: 2.0")],
            {"width:": "'width'", "tmes:": "unknown key 'tmes'. Did you mean 'times'?"},
        ),
    ],
)
def test_each_problem_stands_once_and_in_its_line(tmp_path, edits, places):
    text = edited(*edits)
    found = refused(tmp_path, text)
    assert [line for line, _ in found] == [line_of(text, start) for start in places]
    assert all(what in message for what, (_, message) in zip(places.values(), found, strict=True))


@pytest.mark.parametrize(
    "edits",
    [
        [giving("width: [4, 16]", "scales: [1.0, 2.0]")],
        [("rms_norm", "gradients"), giving("lengths: [4, 4]")],
        [related("at: y", "equals: {value: [0, 1.0]}")],
        [related("equals: {value: {y: 0}}")],
        [related("equals: {paper: {eps_under_root: 1.0e-5}}"), ALONE],
        [related("equals:", "  itself: {given: {shift: 1.0}}")],
        [("rms_norm", "parameters"), giving("seeds: 1"), related("at: wpe", "equals: {value: anything}")],
        [(CHECK, CHECK.replace("layer-norm", "head-tied").replace("rms_norm", "logits").replace("offset", "stress"))],
    ],
)
def test_what_makes_sense_is_not_refused(tmp_path, edits):
    assert load([written(tmp_path, edited(*edits))]).claims
