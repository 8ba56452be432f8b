from edgekit import errors
from edgekit.errors import EdgekitError, GateError, ModelError


def test_message_and_fix_are_one_printable_line():
    error = ModelError("bad\nname \x1b[31mred\x07", "look\tat it")
    assert str(error) == "bad name [31mred. Fix: look at it"


def test_long_messages_are_cut_in_the_middle():
    message = ModelError("cannot read " + "x" * 5000 + ": too long").message
    assert len(message) <= errors.MAX_LINE
    assert message.startswith("cannot read x")
    assert message.endswith("x: too long")


def test_every_error_crosses_a_process_boundary_unchanged():
    def tree(kind):
        yield kind
        for child in kind.__subclasses__():
            yield from tree(child)

    for kind in tree(EdgekitError):
        found = errors.from_wire(errors.to_wire(kind("what", "how")))
        assert (type(found), found.message, found.fix) == (kind, "what", "how")
    assert GateError.exit_code == 3
