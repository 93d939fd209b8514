"""What runs in the sandboxes of the contract: handlers that behave in every way, and a custom runtime."""

HANDLER = """
import ctypes, json, os, signal, subprocess, sys, time

def handler(event, context):
    return globals()[event["do"]](event, context)

def echo(event, context):
    print("line one")
    print("line two", file=sys.stderr)
    return {"event": event, "memory": context.memory_limit_in_mb, "pid": os.getpid()}

def fail(event, context):
    raise KeyError("nope")

def leave(event, context):
    os._exit(event["code"])

def leave_cleanly(event, context):
    sys.exit(0)

def segfault(event, context):
    ctypes.string_at(0)

def hang(event, context):
    print("before", flush=True)
    subprocess.Popen(["sleep", "1000"], start_new_session=True)
    while True:
        pass

def loud(event, context):
    for _ in range(event["lines"]):
        print("x" * 999)

def partial(event, context):
    os.write(1, b"caf\\xc3\\xa9 \\xff no newline")

def close_output(event, context):
    os.close(1); os.close(2)
    return "closed"

def big(event, context):
    return "y" * event["size"]

def garbage(event, context):
    for fd in range(3, 2000):
        try:
            os.write(fd, b"\\xff" * 64)
        except OSError:
            pass
    time.sleep(30)

def many_files(event, context):
    opened = []
    try:
        for _ in range(10000):
            opened.append(open("/dev/null"))
    except OSError as error:
        return [error.errno, len(opened)]
    finally:
        for file in opened:
            file.close()

def daemon(event, context):
    return subprocess.Popen(["sleep", event["seconds"]], start_new_session=True).pid

def hello(event, context):
    return "hello"
"""

BOOTSTRAP = """#!/usr/bin/python3
import json, os, sys, urllib.request as web
api = "http://" + os.environ["AWS_LAMBDA_RUNTIME_API"] + "/2018-06-01/runtime/invocation/"
while True:
    work = web.urlopen(api + "next")
    event = json.load(work)
    print("serving", flush=True)
    if event == "exit":
        sys.exit(5)
    name = work.headers["Lambda-Runtime-Aws-Request-Id"]
    data = json.dumps({"got": event}).encode()
    web.urlopen(web.Request(api + name + "/response", data=data)).read()
"""
