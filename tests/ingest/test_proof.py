"""Files by which others see whose the domain is."""

from __future__ import annotations

from pathlib import Path

from tests.ingest.conftest import house


async def test_a_file_of_the_folder_is_served_at_the_root_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "root"
    folder.mkdir()
    (folder / "AbC123-x_y.txt").write_text("0123456789abcdef")
    (folder / "large.txt").write_text("x" * 5_000)
    (folder / "secret.key").write_text("secret")
    (tmp_path / "beside.txt").write_text("beside")
    (folder / "led-away.txt").symlink_to(tmp_path / "beside.txt")
    async with house(tmp_path, domain_files=folder) as gateway, gateway.client() as client:
        found = await client.get("/AbC123-x_y.txt")
        assert (found.status_code, found.text) == (200, "0123456789abcdef")
        assert found.headers["content-type"].startswith("text/plain")
        for other in ("large", "led-away", "missing", "%2e%2e%2fbeside", "secret.key"):
            refused = await client.get(f"/{other}.txt")
            assert refused.json()["code"] == "not_found", other


async def test_without_a_folder_there_is_no_file(tmp_path: Path) -> None:
    async with house(tmp_path) as gateway, gateway.client() as client:
        assert (await client.get("/test-master.txt")).json()["code"] == "not_found"
