"""Queues when the server is killed, and when it is stopped."""

import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from botocore.exceptions import BotoCoreError, ClientError
from tests.servers import Server, eventually, running

pytestmark = pytest.mark.slow


def drain(sqs, url: str) -> list[str]:
    bodies = []
    while True:
        got = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
        if not got:
            return bodies
        bodies += [message["Body"] for message in got]
        handles = [
            {"Id": str(at), "ReceiptHandle": message["ReceiptHandle"]}
            for at, message in enumerate(got)
        ]
        assert "Failed" not in sqs.delete_message_batch(QueueUrl=url, Entries=handles)


def test_every_acknowledged_message_is_there_after_a_kill(tmp_path: Path):
    data = tmp_path / "data"
    acknowledged: list[str] = []
    with running(data, mode="process") as server:
        sqs = server.client("sqs")
        url = sqs.create_queue(QueueName="q")["QueueUrl"]
        fifo = sqs.create_queue(
            QueueName="q.fifo",
            Attributes={"FifoQueue": "true", "ContentBasedDeduplication": "true"},
        )["QueueUrl"]
        sqs.send_message(QueueUrl=url, MessageBody="held")
        [held] = sqs.receive_message(QueueUrl=url, VisibilityTimeout=43_200)["Messages"]

        def send(worker: int) -> None:
            try:
                for number in range(10_000):
                    body = f"{worker}/{number}"
                    if worker % 2:
                        batch = [{"Id": str(at), "MessageBody": f"{body}/{at}"} for at in range(10)]
                        done = sqs.send_message_batch(QueueUrl=url, Entries=batch)
                        acknowledged.extend(f"{body}/{each['Id']}" for each in done["Successful"])
                    else:
                        sqs.send_message(QueueUrl=fifo, MessageBody=body, MessageGroupId="g")
                        acknowledged.append(body)
            except (BotoCoreError, ClientError):
                return

        with ThreadPoolExecutor(6) as pool:
            for worker in range(6):
                pool.submit(send, worker)
            eventually(lambda: len(acknowledged) > 300, within=20)
            server.stop(signal.SIGKILL)
    with running(data, mode="process") as server:
        sqs = server.client("sqs")
        found = drain(sqs, f"{server.endpoint}/{server.account}/q")
        assert len(found) == len(set(found))
        # What was in flight is still, and can be finished by who has it.
        assert "held" not in found
        again = f"{server.endpoint}/{server.account}/q"
        sqs.delete_message(QueueUrl=again, ReceiptHandle=held["ReceiptHandle"])
        ordered = drain(sqs, f"{server.endpoint}/{server.account}/q.fifo")
        assert set(acknowledged) <= {*found, *ordered}
        for worker in (0, 2, 4):
            numbers = [int(body.split("/")[1]) for body in ordered if body.startswith(f"{worker}/")]
            assert numbers == sorted(numbers)
        shown = sqs.get_queue_attributes(QueueUrl=again, AttributeNames=["All"])["Attributes"]
        assert shown["ApproximateNumberOfMessages"] == "0"
        assert shown["ApproximateNumberOfMessagesNotVisible"] == "0"


def test_clients_that_wait_do_not_hold_up_the_end(tmp_path: Path):
    server = Server.start(tmp_path / "data", mode="process")
    try:
        sqs = server.client("sqs")
        url = sqs.create_queue(QueueName="q")["QueueUrl"]
        answers: list[object] = []

        def wait() -> None:
            try:
                answers.append(sqs.receive_message(QueueUrl=url, WaitTimeSeconds=20))
            except (BotoCoreError, ClientError) as error:
                answers.append(error)

        threads = [threading.Thread(target=wait) for _ in range(3)]
        for thread in threads:
            thread.start()
        [row] = eventually(
            lambda: [
                each
                for each in server.platform("/forerun/sources")["Sources"]
                if each.get("Clients") == 3
            ],
            what="three who wait",
        )
        assert row["Id"] == "q"
        began = time.monotonic()
    finally:
        server.process.send_signal(signal.SIGTERM)
        for thread in threads:
            thread.join(30)
        server.stop()
    assert time.monotonic() - began < 15
    assert all(isinstance(answer, dict) and "Messages" not in answer for answer in answers)
