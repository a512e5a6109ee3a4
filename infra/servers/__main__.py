"""`python -m infra.servers [kafka|minio|postgres ...]`: find or build them, and say where.

Standard library only: it runs before, or while, the environment is made. What the machine lacks
is said in one line each; that is a failure only where CI is set.
"""

import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from infra.servers import kafka_jars, minio_program, postgres_programs
from infra.servers.errors import ServerFailed, ToolMissing

PREPARE = {"kafka": kafka_jars, "minio": minio_program, "postgres": postgres_programs}


def prepare(name: str) -> bool:
    """Find or build one server; True if it is there now."""
    began = time.monotonic()
    try:
        place = PREPARE[name]()
    except (ToolMissing, ServerFailed) as lacking:
        print(f"{name}: {lacking}", file=sys.stderr)
        return False
    print(f"{name}: {place} ({time.monotonic() - began:.0f} s)", flush=True)
    return True


def main(names: list[str]) -> int:
    """Prepare the named servers, or all, at the same time."""
    unknown = set(names) - set(PREPARE)
    if unknown:
        print(f"no such server: {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    with ThreadPoolExecutor() as pool:
        there = list(pool.map(prepare, names or list(PREPARE)))
    return 0 if all(there) or not os.environ.get("CI") else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
