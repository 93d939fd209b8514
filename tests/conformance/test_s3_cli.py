"""The AWS CLI, unmodified: ``aws s3`` with files and folders."""

import json
import os
import urllib.request
import uuid
from pathlib import Path

import pytest
from tests.servers import Server

pytestmark = [pytest.mark.conformance, pytest.mark.slow]


def test_way_of_a_folder(server: Server, clients, tmp_path: Path):
    bucket = f"cli-{uuid.uuid4().hex[:10]}"
    there = f"s3://{bucket}"
    folder, back = tmp_path / "folder", tmp_path / "back"
    (folder / "deep").mkdir(parents=True)
    (folder / "a b.txt").write_text("one")
    (folder / "deep" / "é+%.txt").write_text("two")
    big = os.urandom(18 * 1024 * 1024)
    (folder / "big.bin").write_bytes(big)

    assert f"make_bucket: {bucket}" in clients.run("aws", "s3", "mb", there)
    assert bucket in clients.run("aws", "s3", "ls")
    clients.run("aws", "s3", "sync", str(folder), f"{there}/in")
    assert "upload" not in clients.run("aws", "s3", "sync", str(folder), f"{there}/in")
    shown = clients.run("aws", "s3", "ls", f"{there}/in/")
    assert "PRE deep/" in shown
    assert "a b.txt" in shown
    assert len(clients.run("aws", "s3", "ls", there, "--recursive").splitlines()) == 3
    clients.run("aws", "s3", "cp", f"{there}/in", str(back), "--recursive")
    assert (back / "big.bin").read_bytes() == big
    assert (back / "deep" / "é+%.txt").read_text() == "two"
    clients.run("aws", "s3", "cp", f"{there}/in/big.bin", f"{there}/copy.bin")
    clients.run("aws", "s3", "mv", f"{there}/in/a b.txt", f"{there}/moved.txt")
    assert clients.run("aws", "s3", "cp", f"{there}/moved.txt", "-") == "one"
    link = clients.run("aws", "s3", "presign", f"{there}/moved.txt").strip()
    with urllib.request.urlopen(link, timeout=20) as response:
        assert response.read() == b"one"
    (folder / "deep" / "é+%.txt").unlink()
    gone = clients.run("aws", "s3", "sync", str(folder), f"{there}/in", "--delete")
    assert "delete:" in gone
    head = json.loads(
        clients.run("aws", "s3api", "head-object", "--bucket", bucket, "--key", "copy.bin")
    )
    assert head["ContentLength"] == len(big)
    assert "NoSuchKey" in clients.run(
        "aws", "s3api", "get-object", "--bucket", bucket, "--key", "none", "x", fails=True
    )
    assert "BucketNotEmpty" in clients.run("aws", "s3", "rb", there, fails=True, errors=True)
    clients.run("aws", "s3", "rm", f"{there}/copy.bin")
    assert f"remove_bucket: {bucket}" in clients.run("aws", "s3", "rb", there, "--force")
    assert "NoSuchBucket" in clients.run("aws", "s3", "ls", there, fails=True)
