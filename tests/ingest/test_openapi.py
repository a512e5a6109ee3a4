"""What OpenAPI says is what the doors do: schemathesis sends what the document allows."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.ingest.conftest import House, served

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def document(shared: House) -> AsyncIterator[dict[str, Any]]:
    async with shared.client() as client:
        yield (await client.get("/openapi.json")).json()


def references(node: Any) -> set[str]:
    """Every `$ref` in a document."""
    if isinstance(node, dict):
        own = {node["$ref"]} if isinstance(node.get("$ref"), str) else set()
        return own.union(*(references(each) for each in node.values()))
    if isinstance(node, list):
        return set().union(*(references(each) for each in node))
    return set()


async def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    for reference in references(document):
        node: Any = document
        for part in reference.removeprefix("#/").split("/"):
            assert part in node, reference
            node = node[part]


async def test_the_doors_are_all_there(document: dict[str, Any]) -> None:
    doors = {(path, method) for path, item in document["paths"].items() for method in item}
    assert doors == {
        ("/tts", "post"),
        ("/v1/jobs", "post"),
        ("/v1/jobs", "get"),
        ("/v1/jobs/{job_id}", "get"),
        ("/v1/jobs/{job_id}/events", "get"),
        ("/v1/jobs/{job_id}/{thing}", "get"),
        ("/v1/catalogue", "get"),
        ("/v1/uploads", "options"),
        ("/v1/uploads", "post"),
        ("/v1/uploads/{upload_id}", "head"),
        ("/v1/uploads/{upload_id}", "patch"),
        ("/v1/uploads/{upload_id}", "post"),
        ("/v1/uploads/{upload_id}", "delete"),
        ("/v1/voices", "get"),
        ("/v1/voices", "post"),
        ("/v1/voices/accept", "post"),
        ("/v1/voices/{voice_id}", "get"),
        ("/v1/voices/{voice_id}", "patch"),
        ("/v1/voices/{voice_id}", "post"),
        ("/v1/voices/{voice_id}", "delete"),
        ("/v1/voices/{voice_id}/recording", "get"),
        ("/v1/voices/{voice_id}/shares", "get"),
        ("/v1/voices/{voice_id}/shares", "post"),
        ("/v1/voices/{voice_id}/shares/{share_id}", "delete"),
        ("/v1/jobs/{job_id}/played", "post"),
        ("/v1/jobs/{job_id}/rating", "post"),
        ("/v1/jobs/{job_id}/report", "post"),
        ("/v1/jobs/{job_id}/appeal", "post"),
        ("/v1/jobs/{job_id}/share", "post"),
        ("/v1/jobs/{job_id}/share", "delete"),
        ("/s/{token}/speech", "get"),
        ("/s/{token}/report", "post"),
        ("/v1/review", "get"),
        ("/v1/review/{review_id}", "post"),
        ("/v1/dead", "get"),
        ("/v1/dead/{letter_id}", "get"),
        ("/v1/dead/{letter_id}/redrive", "post"),
        ("/v1/dead/{letter_id}/discard", "post"),
        ("/v1/audit/trail/{trail_id}", "get"),
        ("/v1/audit/jobs", "get"),
        ("/v1/status", "get"),
        ("/v1/session", "post"),
        ("/v1/session", "get"),
        ("/v1/session", "delete"),
        ("/v1/session/refresh", "post"),
        ("/v1/webhooks", "post"),
        ("/v1/webhooks", "get"),
        ("/v1/webhooks/{hook_id}", "delete"),
        ("/v1/webhooks/{hook_id}/tries", "get"),
        ("/v1/keys", "get"),
        ("/v1/keys", "post"),
        ("/v1/keys/{key_id}", "delete"),
    }


HOOKS = """
import schemathesis
schemathesis.serializer.alias("application/offset+octet-stream", "application/octet-stream")
"""
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)


@pytest.mark.timeout(400)
async def test_requests_made_from_the_document_are_answered_as_it_says(
    shared: House, tmp_path: Path
) -> None:
    (tmp_path / "hooks.py").write_text(HOOKS)
    async with served(shared) as address:
        said = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "schemathesis.cli", "run"),
            *(f"http://{address}/openapi.json", "--checks", ",".join(CHECKS)),
            *("--max-examples", "12", "--seed", "1", "--phases", "examples,coverage,fuzzing"),
            *("--generation-database", "none", "--no-color"),
            cwd=tmp_path,
            env={**os.environ, "SCHEMATHESIS_HOOKS": "hooks"},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        report, _ = await said.communicate()
    assert said.returncode == 0, report.decode()[-6_000:]
