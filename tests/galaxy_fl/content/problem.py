"""What servers answer where something is not done."""

from __future__ import annotations

import httpx

from galaxy_fl.content.problem import PROBLEM_TYPE, Problem

__all__ = ["kind"]


def kind(response: httpx.Response) -> str:
    """The kind of a problem, which has to be one by RFC 9457."""
    assert response.headers["content-type"] == PROBLEM_TYPE, response.text
    problem = Problem.model_validate_json(response.content)
    assert problem.model_dump() == response.json()
    assert problem.status == response.status_code
    assert problem.instance == response.url.path
    return problem.kind
