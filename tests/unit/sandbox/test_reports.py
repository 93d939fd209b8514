import json

from hypothesis import given
from hypothesis import strategies as st

from forerun.model import InitFailure, LoggingConfig, Outcome
from forerun.sandbox import reports

TEXT = LoggingConfig(group="/aws/lambda/fn")
TIME = 1_700_000_000_007
SAMPLED = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"


def as_json(level="INFO"):
    return LoggingConfig(group="/aws/lambda/fn", format="JSON", system_level=level)


def make_report(**members):
    return reports.Report(
        **{
            "request_id": "r1",
            "duration_ms": 1.234,
            "memory_mb": 128,
            "max_memory_mb": 30,
            **members,
        }
    )


def texts(lines):
    return [line.text for line in lines]


def events(lines):
    return [json.loads(line.text) for line in lines]


def test_text_of_a_plain_invocation():
    assert texts(reports.start_lines("r1", "$LATEST", time_ms=TIME, logging=TEXT)) == [
        "START RequestId: r1 Version: $LATEST"
    ]
    assert texts(reports.end_lines(make_report(), time_ms=TIME, logging=TEXT)) == [
        "END RequestId: r1",
        "REPORT RequestId: r1\tDuration: 1.23 ms\tBilled Duration: 2 ms\tMemory Size: 128 MB\t"
        "Max Memory Used: 30 MB\t",
    ]


def test_text_of_a_first_invocation_bills_init():
    lines = reports.end_lines(make_report(init_ms=80.12), time_ms=TIME, logging=TEXT)
    assert lines[-1].text.endswith("Max Memory Used: 30 MB\tInit Duration: 80.12 ms\t")
    assert "Billed Duration: 82 ms" in lines[-1].text


def test_text_of_a_restored_sandbox_names_the_trace_on_its_own_line():
    report = make_report(restore_ms=3.5, trace_id=SAMPLED)
    text = texts(reports.end_lines(report, time_ms=TIME, logging=TEXT))[-1]
    assert "Restore Duration: 3.50 ms\tBilled Restore Duration: 4 ms\t" in text
    assert text.endswith("\nXRAY TraceId: 1-5759e988-bd862e3fe1be46a994272793\t")


def test_unsampled_trace_is_not_named():
    report = make_report(trace_id=SAMPLED.replace("Sampled=1", "Sampled=0"))
    assert "XRAY" not in texts(reports.end_lines(report, time_ms=TIME, logging=TEXT))[-1]


def test_text_of_a_timeout():
    report = make_report(duration_ms=3000.4, status="timeout", error_type="Sandbox.Timedout")
    lines = texts(reports.end_lines(report, time_ms=TIME, logging=TEXT))
    assert lines[0] == "2023-11-14T22:13:20.007Z r1 Task timed out after 3.00 seconds\n"
    assert lines[1] == "END RequestId: r1"
    assert lines[2].endswith("\tStatus: timeout")


def test_text_names_an_error_only_when_the_sandbox_ended():
    handled = make_report(status="error", error_type="ValueError")
    crashed = make_report(status="error", error_type="Runtime.ExitError", crashed=True)
    assert "Status" not in texts(reports.end_lines(handled, time_ms=TIME, logging=TEXT))[-1]
    assert texts(reports.end_lines(crashed, time_ms=TIME, logging=TEXT))[-1].endswith(
        "\tStatus: error\tError Type: Runtime.ExitError"
    )


def test_json_levels():
    def kinds(level, **members):
        config = as_json(level)
        lines = reports.start_lines("r1", "3", time_ms=TIME, logging=config)
        lines += reports.end_lines(make_report(**members), time_ms=TIME, logging=config)
        return [event["type"] for event in events(lines)]

    whole = ["platform.start", "platform.runtimeDone", "platform.report"]
    assert kinds("DEBUG") == whole
    assert kinds("INFO") == ["platform.start", "platform.report"]
    assert kinds("WARN") == []
    assert kinds("WARN", status="error", error_type="E") == whole[1:]


def test_json_members():
    report = make_report(init_ms=80.1239, status="error", error_type="E", trace_id=SAMPLED)
    done, whole = events(reports.end_lines(report, time_ms=TIME, logging=as_json("DEBUG")))
    assert done["time"] == "2023-11-14T22:13:20.007Z"
    assert done["record"]["metrics"] == {"durationMs": 1.234, "producedBytes": 0}
    assert whole["record"] == {
        "requestId": "r1",
        "metrics": {
            "durationMs": 1.234,
            "billedDurationMs": 82,
            "memorySizeMB": 128,
            "maxMemoryUsedMB": 30,
            "initDurationMs": 80.124,
        },
        "status": "error",
        "errorType": "E",
        "tracing": {"type": "X-Amzn-Trace-Id", "value": SAMPLED},
    }


def test_failed_init():
    failure = InitFailure(payload=b"{}", error_type="Runtime.ImportModuleError", duration_ms=12.345)
    assert texts(reports.init_failed_lines(failure, time_ms=TIME, logging=TEXT)) == [
        "INIT_REPORT Init Duration: 12.35 ms\tPhase: init\tStatus: error\t"
        "Error Type: Runtime.ImportModuleError"
    ]
    (event,) = events(reports.init_failed_lines(failure, time_ms=TIME, logging=as_json("WARN")))
    assert event["type"] == "platform.initReport"
    assert event["record"]["errorType"] == "Runtime.ImportModuleError"
    late = InitFailure(payload=b"{}", error_type="x", duration_ms=10000.0, status="timeout")
    assert texts(reports.init_failed_lines(late, time_ms=TIME, logging=TEXT))[0].endswith(
        "Status: timeout"
    )


@given(st.floats(0, 1e7), st.floats(0, 1e5) | st.none())
def test_billed_time_is_never_below_the_time_spent(duration, init):
    billed = make_report(duration_ms=duration, init_ms=init).billed_ms
    spent = duration + (init or 0)
    assert spent <= billed <= spent + 1


def test_report_of_an_outcome_survives_a_clock_that_went_back():
    outcome = Outcome(payload=b"12", started=10.0, ended=9.0, alive=False, status="error")
    report = reports.report_of("r1", outcome, memory_mb=128)
    assert (report.duration_ms, report.crashed, report.produced_bytes) == (0.0, True, 2)
