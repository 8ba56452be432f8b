from edgekit.build_lines import line_of

TEXT = """\
# a comment
top = 1
[model.kws]
path = "a"      # [not.a.header]
"quoted key" = 2
[model."with.dot"]
path = 1

[[build]]
model = "x"
[[build]]
model = "y"
[check]
a.b = 3
"""


def test_keys_are_found_in_tables_and_in_lists_of_tables():
    assert line_of(TEXT, ["top"]) == 2
    assert line_of(TEXT, ["model", "kws", "path"]) == 4
    assert line_of(TEXT, ["model", "kws", "quoted key"]) == 5
    assert line_of(TEXT, ["model", "with.dot", "path"]) == 7
    assert line_of(TEXT, ["build", 0, "model"]) == 10
    assert line_of(TEXT, ["build", 1, "model"]) == 12
    assert line_of(TEXT, ["check", "a", "b"]) == 14


def test_a_key_that_is_not_written_gives_the_table_around_it():
    assert line_of(TEXT, ["model", "kws", "data"]) == 3
    assert line_of(TEXT, ["build", 1, "target", 0]) == 11


def test_what_stands_nowhere_has_no_line():
    assert line_of(TEXT, ["device", "pi"]) is None
    assert line_of("", []) is None
