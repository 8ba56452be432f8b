"""Running generated C on this machine: what passes, what fails, and what could not be run."""

from __future__ import annotations

import shutil

import pytest

from edgekit.converters import c_checking
from edgekit.errors import ParityError

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="cc is not installed")


@pytest.fixture
def check(tmp_path):
    """Checks a test program that is given as text."""

    def run(text):
        main, program = tmp_path / "m.c", tmp_path / "m_main.c"
        main.write_text("int answer(void);\nint answer(void) { return 42; }\n")
        program.write_text(text)
        return c_checking.check(main, program, tmp_path)

    return run


def test_a_program_that_passes_names_the_compiler(check):
    found = check("int answer(void);\nint main(void) { return answer() - 42; }\n")
    assert found.compiler
    assert found.warning is None


def test_a_program_that_fails_is_a_broken_parity(check):
    text = '#include <stdio.h>\nint main(void) { puts("FAIL: 1 of 8"); return 1; }\n'
    with pytest.raises(ParityError, match="FAIL: 1 of 8"):
        check(text)


def test_a_program_that_crashes_is_a_broken_parity(check):
    with pytest.raises(ParityError, match="it ended with -6"):
        check("#include <stdlib.h>\nint main(void) { abort(); }\n")


def test_a_compiler_that_fails_is_a_warning_with_what_it_said(check):
    found = check("#error no headers here\n")
    assert found.compiler is None
    assert "no headers here" in found.warning
    assert "build m_main.c" in found.warning
