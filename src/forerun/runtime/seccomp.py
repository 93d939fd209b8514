"""The system call filter of a sandbox, as classic BPF.

A deny list, on purpose: a function may bring any compiled library, and an allow list that is too short breaks it in
ways its author cannot see. The namespaces, the missing capabilities and the read-only root are what confines a
sandbox; the filter takes away the calls that have been the way into kernels (namespaces, mounts, bpf, keys, io_uring,
userfaultfd, module and clock calls, odd socket families) and that no function needs.

A template of SnapStart differs: ``setns`` is asked of the process that traces, and answers ENOSYS to a process that is
not traced (``forerun.runtime.escort``). And as its user owns the user namespace of its copies, a socket that a copy hands
back to it could be used to change the copy's network: the changes of interfaces and packet filters are refused, too,
which without that fail for want of a capability.

Refused calls answer EPERM; ``clone3``, whose flags a filter cannot see, answers ENOSYS so that libc falls back to
``clone``. Another architecture's calls (x32, i386) end the process.
"""

from __future__ import annotations

import platform
import struct

_LOAD, _JUMP_EQ, _JUMP_GE, _JUMP_SET, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW = 0x7FFF0000
_EPERM = 0x00050000 | 1
_ENOSYS = 0x00050000 | 38
_TRACE = 0x7FF00000
_KILL = 0x80000000
# Offsets in struct seccomp_data: the low halves of the arguments, on little endian machines.
_NR, _ARCH, _ARG0, _ARG1, _ARG2 = 0, 4, 16, 24, 32

_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_X32_BIT = 0x40000000
# CLONE_NEWNS, CGROUP, UTS, IPC, USER, PID, NET (CLONE_NEWTIME exists for unshare and clone3 only)
_NAMESPACES = 0x7E020000
# AF_UNIX, AF_INET, AF_INET6, AF_NETLINK
_FAMILIES = (1, 2, 10, 16)
_NETLINK, _NETLINK_ROUTE = 16, 0
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
# Changes of packet filters (IPT_SO_SET_REPLACE and _ADD_COUNTERS, ARPT_, EBT_), whatever the level of the option.
_TABLES = (64, 65, 96, 97, 128, 129)
# SIOCADDRT, SIOCDELRT, SIOCSIF* (flags, addresses, metric, MTU, name, hardware address, queue, map), SIOCDARP, SIOCSARP,
# VLANs, tunnels, bridges.
_INTERFACES = (
    *(0x890B, 0x890C, 0x8914, 0x8916, 0x8918, 0x891A, 0x891C, 0x891E, 0x8922, 0x8923, 0x8924),
    *(0x8936, 0x8937, 0x8943, 0x8953, 0x8955, 0x8971, 0x8983, 0x89A0, 0x89A1, 0x89A2, 0x89A3),
    *(0x89F1, 0x89F2, 0x89F3),
)

# name: (number on x86_64, number on aarch64; None where the call does not exist)
_DENIED = {
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "open_tree_attr": (467, 467),
    "unshare": (272, 97),
    "setns": (308, 268),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "kcmp": (312, 272),
    "pidfd_getfd": (438, 438),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "acct": (163, 89),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "clock_adjtime": (305, 266),
    "adjtimex": (159, 171),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "open_by_handle_at": (304, 265),
    "name_to_handle_at": (303, 264),
    "fanotify_init": (300, 262),
    "fanotify_mark": (301, 263),
    "iopl": (172, None),
    "ioperm": (173, None),
    "modify_ldt": (154, None),
    "uselib": (134, None),
    "ustat": (136, None),
    "nfsservctl": (180, 42),
    "syslog": (103, 116),
    "vhangup": (153, 58),
    "lookup_dcookie": (212, 18),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "move_pages": (279, 239),
    "migrate_pages": (256, 238),
}
_CLONE, _CLONE3 = (56, 220), 435
_SOCKET, _IOCTL, _PERSONALITY = (41, 198), (16, 29), (135, 92)
_SOCKETPAIR, _SETSOCKOPT = (53, 199), (54, 208)

_LEAF = 3

_Instruction = tuple[int, int, int, int]


def denied_calls(machine: str) -> dict[str, int]:
    """Names and numbers of the calls that are always refused on ``machine``."""
    column = _column(machine)
    found = {name: numbers[column] for name, numbers in _DENIED.items()}
    return {name: number for name, number in found.items() if number is not None}


def program(machine: str = "", *, template: bool = False) -> bytes:
    """The filter for ``machine`` (default: this one) as packed ``struct sock_filter``.

    ``template``: for a process whose copies are led into other namespaces by the one that traces them.

    Raises ``ValueError`` for an architecture whose call numbers are not known here.
    """
    machine = machine or platform.machine()
    column = _column(machine)
    code: list[_Instruction] = [
        (_LOAD, 0, 0, _ARCH),
        (_JUMP_EQ, 1, 0, _ARCHITECTURES[machine]),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NR),
    ]
    if machine == "x86_64":
        code += [(_JUMP_GE, 0, 1, _X32_BIT), (_RETURN, 0, 0, _KILL)]
    refuse: list[_Instruction] = [(_RETURN, 0, 0, _EPERM)]
    rules = dict.fromkeys(denied_calls(machine).values(), refuse)
    rules[_CLONE3] = [(_RETURN, 0, 0, _ENOSYS)]
    rules[_CLONE[column]] = _clone_rules()
    rules[_SOCKET[column]] = rules[_SOCKETPAIR[column]] = _socket_rules()
    rules[_IOCTL[column]] = _ioctl_rules()
    rules[_PERSONALITY[column]] = _personality_rules()
    if template:
        rules[denied_calls(machine)["setns"]] = [(_RETURN, 0, 0, _TRACE)]
        rules[_SETSOCKOPT[column]] = _refusing(_ARG2, _TABLES)
        rules[_IOCTL[column]] = _refusing(_ARG1, (_TIOCSTI, _TIOCLINUX, *_INTERFACES))
    code += _tree(sorted(rules.items()))
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)


def _column(machine: str) -> int:
    if machine not in _ARCHITECTURES:
        raise ValueError(f"no system call numbers for architecture {machine}")
    return 0 if machine == "x86_64" else 1


def _tree(rules: list[tuple[int, list[_Instruction]]]) -> list[_Instruction]:
    """A binary search for the call's number: short ways for the kernel, which tries every number at installation."""
    if len(rules) <= _LEAF:
        code: list[_Instruction] = []
        for number, rule in rules:
            code += [(_JUMP_EQ, 0, len(rule), number), *rule]
        return [*code, (_RETURN, 0, 0, _ALLOW)]
    middle = len(rules) // 2
    below, rest = _tree(rules[:middle]), _tree(rules[middle:])
    return [(_JUMP_GE, len(below), 0, rules[middle][0]), *below, *rest]


def _clone_rules() -> list[_Instruction]:
    return [
        (_LOAD, 0, 0, _ARG0),
        (_JUMP_SET, 0, 1, _NAMESPACES),
        (_RETURN, 0, 0, _EPERM),
        (_RETURN, 0, 0, _ALLOW),
    ]


def _socket_rules() -> list[_Instruction]:
    rules: list[_Instruction] = [(_LOAD, 0, 0, _ARG0)]
    for family in _FAMILIES[:3]:
        rules += [(_JUMP_EQ, 0, 1, family), (_RETURN, 0, 0, _ALLOW)]
    return [
        *rules,
        (_JUMP_EQ, 1, 0, _NETLINK),
        (_RETURN, 0, 0, _EPERM),
        (_LOAD, 0, 0, _ARG2),
        (_JUMP_EQ, 0, 1, _NETLINK_ROUTE),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _EPERM),
    ]


def _ioctl_rules() -> list[_Instruction]:
    return [
        (_LOAD, 0, 0, _ARG1),
        (_JUMP_EQ, 1, 0, _TIOCSTI),
        (_JUMP_EQ, 0, 1, _TIOCLINUX),
        (_RETURN, 0, 0, _EPERM),
        (_RETURN, 0, 0, _ALLOW),
    ]


def _refusing(argument: int, values: tuple[int, ...]) -> list[_Instruction]:
    """Refuse the call when the argument is one of ``values``."""
    rules: list[_Instruction] = [(_LOAD, 0, 0, argument)]
    for left, value in enumerate(reversed(values)):
        rules.insert(1, (_JUMP_EQ, left + 1, 0, value))
    return [*rules, (_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _EPERM)]


def _personality_rules() -> list[_Instruction]:
    return [
        (_LOAD, 0, 0, _ARG0),
        (_JUMP_EQ, 2, 0, 0),
        (_JUMP_EQ, 1, 0, 0xFFFFFFFF),
        (_RETURN, 0, 0, _EPERM),
        (_RETURN, 0, 0, _ALLOW),
    ]
