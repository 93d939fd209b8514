import pytest

from forerun.cli.deploying.bundling import bundle
from forerun.cli.deploying.detection import detect
from forerun.cli.failures import Misuse

SERVED = ["python3.9", "python3.11", "python3.10", "nodejs20.x", "nodejs18.x", "provided.al2023"]


def guess(tmp_path, files, **said):
    for name, content in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return detect(bundle(tmp_path), SERVED, **said)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (
            {"lambda_function.py": "def lambda_handler(event, context): ..."},
            ("python3.11", "lambda_function.lambda_handler"),
        ),
        ({"app.py": "def helper(): ...\ndef handler(e, c): ..."}, ("python3.11", "app.handler")),
        ({"app.py": "handler = make()"}, ("python3.11", "app.handler")),
        ({"hello.py": "def greet(event, context): ..."}, ("python3.11", "hello.greet")),
        ({"index.mjs": "export const handler = async () => 1"}, ("nodejs20.x", "index.handler")),
        ({"index.js": "exports.handler = async () => 1"}, ("nodejs20.x", "index.handler")),
        (
            {"app.mjs": "export async function lambdaHandler(e) {}"},
            ("nodejs20.x", "app.lambdaHandler"),
        ),
        ({"bootstrap": "#!/bin/sh"}, ("provided.al2023", "bootstrap")),
        (
            {"app.py": "def handler(e, c): ...", "x/y.cpython-39-x86_64-linux-gnu.so": ""},
            ("python3.9", "app.handler"),
        ),
        ({"app.py": "def broken("}, ("python3.11", "app.lambda_handler")),
    ],
)
def test_reads_runtime_and_handler_off_the_files(tmp_path, files, expected):
    assert guess(tmp_path, files) == expected


def test_what_is_said_is_kept(tmp_path):
    files = {"app.py": "def handler(e, c): ...", "index.mjs": "export const handler = 1"}
    assert guess(tmp_path, files, runtime="nodejs18.x") == ("nodejs18.x", "index.handler")
    assert guess(tmp_path, files, handler="app.handler") == ("python3.11", "app.handler")
    assert guess(tmp_path, files, runtime="a", handler="b") == ("a", "b")


@pytest.mark.parametrize(
    ("files", "said", "message"),
    [
        ({"readme.md": ""}, {}, "--handler"),
        ({"a.py": "def f(e, c): ...", "b.py": ""}, {}, "--handler"),
        ({"only.py": "def f(e, c): ...\ndef g(e, c): ..."}, {}, "--handler"),
        ({"app.py": ""}, {"handler": "other.f"}, "No file of the package"),
    ],
)
def test_asks_when_the_files_do_not_tell(tmp_path, files, said, message):
    with pytest.raises(Misuse, match=message):
        guess(tmp_path, files, **said)


def test_a_runtime_the_server_lacks_is_named(tmp_path):
    (tmp_path / "bootstrap").write_text("")
    with pytest.raises(Misuse, match=r"runs no provided .*python3\.9"):
        detect(bundle(tmp_path), ["python3.9"])
