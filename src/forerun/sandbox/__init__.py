"""One execution environment: made, spoken with, bounded in time and memory, and destroyed without a trace."""

from forerun.sandbox.bytecode import make_pack, worth_compiling
from forerun.sandbox.capabilities import Finding, can_jail, probe
from forerun.sandbox.connections import Connection
from forerun.sandbox.contract import (
    OnExit,
    OnLoaded,
    Pack,
    Sandbox,
    Sandboxes,
    ServePlatform,
    TakeDatagram,
)
from forerun.sandbox.environment import PLATFORM_INSIDE
from forerun.sandbox.interpreters import (
    Interpreter,
    find_nodes,
    find_pythons,
    own_interpreter,
    search_folders,
)
from forerun.sandbox.jail import JailSandboxes, JailSettings
from forerun.sandbox.nursery import (
    SDK_PRELOAD,
    STANDARD_MODULES,
    STANDARD_PRELOAD,
    Nursery,
    ZygoteInfo,
)
from forerun.sandbox.process import ProcessSandboxes, ProcessSettings
from forerun.sandbox.reports import (
    Report,
    end_lines,
    init_failed_lines,
    report_of,
    start_lines,
)
from forerun.sandbox.rootfs import SDK_PACKAGES
from forerun.sandbox.tcp_info import OPTION as TCP_INFO
from forerun.sandbox.tcp_info import SIZE as TCP_INFO_SIZE
from forerun.sandbox.tcp_info import TcpInfo, read_tcp_info
from forerun.sandbox.zygotes import Unfit

__all__ = [
    "PLATFORM_INSIDE",
    "SDK_PACKAGES",
    "SDK_PRELOAD",
    "STANDARD_MODULES",
    "STANDARD_PRELOAD",
    "TCP_INFO",
    "TCP_INFO_SIZE",
    "Connection",
    "Finding",
    "Interpreter",
    "JailSandboxes",
    "JailSettings",
    "Nursery",
    "OnExit",
    "OnLoaded",
    "Pack",
    "ProcessSandboxes",
    "ProcessSettings",
    "Report",
    "Sandbox",
    "Sandboxes",
    "ServePlatform",
    "TakeDatagram",
    "TcpInfo",
    "Unfit",
    "ZygoteInfo",
    "can_jail",
    "end_lines",
    "find_nodes",
    "find_pythons",
    "init_failed_lines",
    "make_pack",
    "own_interpreter",
    "probe",
    "read_tcp_info",
    "report_of",
    "search_folders",
    "start_lines",
    "worth_compiling",
]
