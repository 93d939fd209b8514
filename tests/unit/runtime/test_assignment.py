from forerun.runtime.assignment import environment_for, python_paths

FACTS = {
    "handler": "app.handler",
    "runtime": "python3.12",
    "region": "eu-central-1",
    "function_name": "fn",
    "function_version": "$LATEST",
    "memory_mb": 128,
    "log_group": "g",
    "log_stream": "s",
}


def test_reserved_variables_win_over_the_users_and_defaults_do_not():
    user = {
        "AWS_LAMBDA_FUNCTION_NAME": "x",
        "TZ": "Asia/Tokyo",
        "MINE": "1",
        "AWS_ENDPOINT_URL": "u",
    }
    found = environment_for(
        FACTS, user, credentials=("k", "s", "t"), endpoint_url="http://e", runtime_api="h:1"
    )
    assert found["AWS_LAMBDA_FUNCTION_NAME"] == "fn"
    assert (found["TZ"], found["MINE"], found["AWS_ENDPOINT_URL"]) == ("Asia/Tokyo", "1", "u")
    assert found["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] == "128"
    assert found["AWS_EXECUTION_ENV"] == "AWS_Lambda_python3.12"
    assert found["AWS_LAMBDA_INITIALIZATION_TYPE"] == "on-demand"
    assert (found["AWS_ACCESS_KEY_ID"], found["AWS_SESSION_TOKEN"]) == ("k", "t")
    assert found["AWS_LAMBDA_RUNTIME_API"] == "h:1"
    assert found["PYTHONPATH"] == "/var/runtime"
    assert "AWS_LAMBDA_LOG_LEVEL" not in found


def test_what_depends_on_the_runtime_and_the_log_format():
    node = environment_for(FACTS | {"runtime": "nodejs20.x", "log_format": "JSON"}, {})
    assert node["NODE_PATH"].startswith("/opt/nodejs/node20/node_modules:")
    assert node["AWS_LAMBDA_LOG_LEVEL"] == "INFO"
    assert "PYTHONPATH" not in node
    assert "AWS_ACCESS_KEY_ID" not in node
    assert "AWS_EXECUTION_ENV" not in environment_for(FACTS | {"runtime": "provided.al2023"}, {})


def test_python_paths():
    code, library = python_paths("python3.11", {"PYTHONPATH": "/var/task/src:relative:"})
    assert code == [
        "/var/task",
        "/var/task/src",
        "/opt/python/lib/python3.11/site-packages",
        "/opt/python",
    ]
    assert library == ["/var/runtime"]
    assert python_paths("python3.11", {}, task_root="/t", layers_root=None)[0] == ["/t"]
