"""The embedded node's HTTP server: every body has an answer, and none is an internal error."""

from __future__ import annotations

import http.client
import json

from galaxy_chain.node import Node

__all__ = ["fuzz"]

NODE = Node(port=0)
NODE.start()


def fuzz(data: bytes) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", NODE.port, timeout=20)
    try:
        connection.request("POST", "/", data, {"Content-Type": "application/json"})
        response = connection.getresponse()
        body = response.read()
    finally:
        connection.close()
    assert response.status in (200, 204)
    if response.status == 204:
        assert not body
        return True
    answers = json.loads(body)
    for answer in answers if isinstance(answers, list) else [answers]:
        assert answer["jsonrpc"] == "2.0"
        assert ("result" in answer) != ("error" in answer)
        assert answer.get("error", {}).get("code") != -32603, answer
    return b'"result"' in body
