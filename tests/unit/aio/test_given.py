"""Processes get their whole input, and may leave it unread."""

import subprocess
import sys

import pytest

from forerun.aio import given

READS = "import sys; sys.stdout.buffer.write(sys.stdin.buffer.read())"


@pytest.mark.parametrize("data", [b"", b"one line\n", bytes(range(256)) * 4096])
def test_a_process_reads_all_of_it(data):
    with given(data) as stdin:
        ran = subprocess.run(
            [sys.executable, "-c", READS], stdin=stdin, stdout=subprocess.PIPE, check=True
        )
    assert ran.stdout == data


def test_a_process_that_reads_nothing_ends_well():
    with given(b"x" * 1_000_000) as stdin:
        subprocess.run([sys.executable, "-c", ""], stdin=stdin, check=True)
