"""The filter, run by a small interpreter of its instructions: each architecture, each rule, without a kernel."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forerun.runtime import seccomp

ALLOW, EPERM, ENOSYS, KILL = 0x7FFF0000, 0x50001, 0x50026, 0x80000000
TRACE = 0x7FF00000
ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
CLONE = {"x86_64": 56, "aarch64": 220}
SOCKET = {"x86_64": 41, "aarch64": 198}
IOCTL = {"x86_64": 16, "aarch64": 29}
SETSOCKOPT = {"x86_64": 54, "aarch64": 208}
PERSONALITY = {"x86_64": 135, "aarch64": 92}
MACHINES = sorted(ARCH)


def decide(
    machine: str, number: int, *arguments: int, arch: int | None = None, template: bool = False
) -> int:
    """What the kernel would answer."""
    padded = (*arguments, *(0,) * (6 - len(arguments)))
    data = struct.pack("=iIQ6Q", number, ARCH[machine] if arch is None else arch, 0, *padded)
    code = list(struct.iter_unpack("=HBBI", seccomp.program(machine, template=template)))
    accumulator = position = 0
    while True:
        operation, true, false, value = code[position]
        position += 1
        if operation == 0x20:
            (accumulator,) = struct.unpack_from("=I", data, value)
        elif operation == 0x06:
            return value
        else:
            taken = {
                0x15: accumulator == value,
                0x35: accumulator >= value,
                0x45: bool(accumulator & value),
            }[operation]
            position += true if taken else false


@pytest.mark.parametrize("machine", MACHINES)
def test_refuses_what_is_on_the_list_whatever_the_arguments(machine: str) -> None:
    for name, number in seccomp.denied_calls(machine).items():
        assert decide(machine, number) == EPERM, name
        assert decide(machine, number, *(2**64 - 1,) * 6) == EPERM, name


@pytest.mark.parametrize("machine", MACHINES)
@given(number=st.integers(0, 460))
def test_allows_everything_else(machine: str, number: int) -> None:
    if number in seccomp.denied_calls(machine).values() or number == 435:
        return
    if number in (SOCKET[machine], SOCKET[machine] + 12, SOCKET[machine] + 1):
        return
    assert decide(machine, number) == ALLOW


@pytest.mark.parametrize("machine", MACHINES)
@given(number=st.integers(0, 460), argument=st.integers(0, 63))
def test_a_template_is_refused_the_same(machine: str, number: int, argument: int) -> None:
    if number == seccomp.denied_calls(machine)["setns"]:
        assert decide(machine, number, template=True) == TRACE
    else:
        arguments = (argument,) * 3
        expected = decide(machine, number, *arguments)
        assert decide(machine, number, *arguments, template=True) == expected


@pytest.mark.parametrize("machine", MACHINES)
def test_a_template_cannot_change_the_network_of_a_copy(machine: str) -> None:
    for request, answer in ((0x8914, EPERM), (0x5412, EPERM), (0x8913, ALLOW), (0x5401, ALLOW)):
        assert decide(machine, IOCTL[machine], 3, request, template=True) == answer
    for option, answer in ((64, EPERM), (129, EPERM), (9, ALLOW), (67, ALLOW)):
        assert decide(machine, SETSOCKOPT[machine], 3, 0, option, template=True) == answer


@pytest.mark.parametrize("machine", MACHINES)
def test_other_architectures_end_the_process(machine: str) -> None:
    assert decide(machine, 1, arch=0x40000003) == KILL
    if machine == "x86_64":
        assert decide(machine, 0x40000000 + 1) == KILL


@pytest.mark.parametrize("machine", MACHINES)
@given(flags=st.integers(0, 2**32 - 1))
def test_clone_makes_processes_and_no_namespaces(machine: str, flags: int) -> None:
    expected = EPERM if flags & 0x7E020000 else ALLOW
    assert decide(machine, CLONE[machine], flags) == expected
    assert decide(machine, 435) == ENOSYS


@pytest.mark.parametrize("machine", MACHINES)
@given(family=st.integers(0, 50), protocol=st.integers(0, 30))
def test_sockets_of_few_families(machine: str, family: int, protocol: int) -> None:
    allowed = family in (1, 2, 10) or (family == 16 and protocol == 0)
    for number in (SOCKET[machine], SOCKET[machine] + (12 if machine == "x86_64" else 1)):
        assert decide(machine, number, family, 1, protocol) == (ALLOW if allowed else EPERM)


@pytest.mark.parametrize("machine", MACHINES)
def test_terminal_injection_and_personalities(machine: str) -> None:
    assert decide(machine, IOCTL[machine], 0, 0x5412) == EPERM
    assert decide(machine, IOCTL[machine], 0, 0x541C) == EPERM
    assert decide(machine, IOCTL[machine], 0, 0x5401) == ALLOW
    assert decide(machine, PERSONALITY[machine], 0) == ALLOW
    assert decide(machine, PERSONALITY[machine], 0xFFFFFFFF) == ALLOW
    assert decide(machine, PERSONALITY[machine], 0x0040000) == EPERM


def test_unknown_architectures_are_refused() -> None:
    with pytest.raises(ValueError, match="riscv64"):
        seccomp.program("riscv64")
