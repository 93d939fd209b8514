"""What a function's init imports is told with its end, and importing is as it was."""

import pytest

WITH_PACKAGE = """
import xml.dom.minidom
import helper
import xml.dom
def handler(event, context):
    import _frozen_importlib
    import colorsys
    return _frozen_importlib._find_and_load.__code__.co_name
"""


def told(driver):
    """Name to (origin, ms) of what INITED tells."""
    report = driver.inited()
    return {name: (origin, ms) for name, origin, ms in report["imports"]}


def test_names_what_the_users_code_asked_for_and_where_it_comes_from(start, interpreter, tmp_path):
    tmp_path.joinpath("helper").mkdir()
    tmp_path.joinpath("helper/__init__.py").write_text("import helper.part, sqlite3")
    tmp_path.joinpath("helper/part.py").write_text("import time\ntime.sleep(0.05)")
    driver = start(WITH_PACKAGE, interpreter=interpreter)
    found = told(driver)
    assert found["xml.dom.minidom"][0] == "standard"
    assert found["sqlite3"][0] == "standard"
    assert "sqlite3.dbapi2" not in found
    assert "xml.dom" not in found
    assert found["helper"][0] == "package"
    assert "helper.part" not in found
    assert 50 <= found["helper"][1] <= found["app"][1]
    assert found["app"][1] < 5000
    # Nothing of the measuring is left when the handler runs.
    assert driver.invoke({}) == (None, "_find_and_load")


def test_layers_and_the_runtimes_own(start, tmp_path):
    layer = tmp_path / "layer"
    runtime = tmp_path / "runtime"
    for folder, name in ((layer, "in_layer"), (runtime, "in_runtime")):
        folder.mkdir()
        folder.joinpath(f"{name}.py").write_text("import time\ntime.sleep(0.002)")
    task = tmp_path / "task"
    task.mkdir()
    driver = start(
        "import in_layer, in_runtime\ndef handler(event, context): pass",
        file="task/app.py",
        task_root=str(task),
        code_paths=[str(task), str(layer)],
        library_paths=[str(runtime)],
    )
    found = told(driver)
    assert found["in_layer"][0] == "layer"
    assert found["in_runtime"][0] == "sdk"


def test_what_the_runtime_brings_but_the_user_has_part_in_is_no_saving(start, tmp_path):
    runtime = tmp_path / "runtime"
    runtime.mkdir()
    runtime.joinpath("brought.py").write_text("import time, mine\ntime.sleep(0.002)")
    task = tmp_path / "task"
    task.mkdir()
    task.joinpath("mine.py").write_text("import sqlite3")
    driver = start(
        "import brought\ndef handler(event, context): pass",
        file="task/app.py",
        task_root=str(task),
        code_paths=[str(task)],
        library_paths=[str(runtime)],
    )
    found = told(driver)
    assert "brought" not in found
    assert found["sqlite3"][0] == "standard"


def test_at_most_64_are_told_the_longest_first(start, tmp_path):
    for number in range(80):
        tmp_path.joinpath(f"m{number}.py").write_text(
            f"import time\ntime.sleep({0.0005 + number / 50_000})"
        )
    names = ", ".join(f"m{number}" for number in range(80))
    driver = start(f"import {names}\ndef handler(event, context): pass")
    told = driver.inited()["imports"]
    assert len(told) == 64
    assert told == sorted(told, key=lambda each: -each[2])


@pytest.mark.parametrize(
    "statement",
    ["import broken", "import importlib as i\ni.import_module('broken')"],
    ids=["statement", "importlib"],
)
def test_stack_traces_of_failed_imports_are_the_users(start, interpreter, tmp_path, statement):
    tmp_path.joinpath("broken.py").write_text("raise ValueError('in here')")
    driver = start(f"{statement}\ndef handler(event, context): pass", interpreter=interpreter)
    error = driver.inited()["error"]
    assert error["errorType"] == "ValueError"
    assert not [line for line in error["stackTrace"] if "forerun/runtime/imports" in line]
    assert "broken.py" in error["stackTrace"][-1]


def test_a_missing_module_is_said_as_ever(start, interpreter):
    driver = start("import nosuchthing\ndef handler(event, context): pass", interpreter=interpreter)
    error = driver.inited()["error"]
    assert error["errorType"] == "Runtime.ImportModuleError"
    assert error["errorMessage"] == "Unable to import module 'app': No module named 'nosuchthing'"


def test_threads_import_while_init_does(start):
    driver = start(
        """
        import threading
        def work():
            import sqlite3, xml.dom.minidom
        threads = [threading.Thread(target=work) for _ in range(4)]
        for each in threads: each.start()
        import asyncio, decimal, fractions
        for each in threads: each.join()
        def handler(event, context): return "fine"
        """
    )
    assert "sqlite3" not in told(driver)
    assert driver.invoke({}) == (None, "fine")
