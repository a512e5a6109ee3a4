#!/usr/bin/env bash
# Every call of a GPU session on a machine that has Python, torch and no network.
#
#   benchmarks/cosyvoice3/bare.sh pack 3.12    here: wheels for that machine's Python, into .whl/
#   benchmarks/cosyvoice3/bare.sh 1 OUT        there, in a copy of this tree: one call of four
#
# There have to be a GPU, torch >= 2.6 and what often comes with it: certifi, httpx, numba, numpy,
# onnxruntime, prometheus-client, regex, safetensors, tiktoken, tqdm, typer. Calls 1 to 3 need
# .whl/engine alone (42 MB), call 4 both folders (65 MB); what a call has installed stays for the
# next on that machine, so they need not be carried at once. Each call is done in ten minutes and
# adds its lines to OUT/gpu.jsonl; tables of the profile and errors go to OUT/stderr.txt.
set -euo pipefail
cd "$(dirname "$0")/../.."

ENGINE="anyascii av contractions kaldifst pyahocorasick soxr textsearch wetext"
RELAY="aiosqlite annotated-types argon2-cffi argon2-cffi-bindings cffi cryptography fastapi greenlet
  httpx-retries httpx-sse minio more-itertools opencc-python-reimplemented opentelemetry-api psycopg
  psycopg-binary pycparser pycryptodome pydantic pydantic-core pydantic-settings pyjwt pypinyin
  python-dotenv python-multipart sqlalchemy starlette tenacity typing-inspection uvicorn websockets"
SOURCE="openai-whisper" # published as source alone: one wheel of it is good everywhere

pinned() { for name in "$@"; do grep -oiE "^$name==[^ ;]+" requirements.lock | head -1; done; }

pack() {
  local into=$1 version=$2 platforms
  shift 2
  platforms=$(for n in 39 35 34 31 28 27 24 17; do echo --platform manylinux_2_${n}_x86_64; done)
  # shellcheck disable=SC2046,SC2086
  python3 -m pip download -q --no-deps --only-binary=:all: --python-version "$version" \
    --implementation cp $platforms --platform manylinux2014_x86_64 -d "$into" $(pinned "$@")
}

call() {
  local phases
  case $1 in
    1) phases="device parity parts first" ;;
    2) phases="throughput memory" ;;
    3) phases="profile determinism" ;;
    4) phases="hearing relay" ;;
  esac
  local wheels=(.whl/*/*.whl)
  if [ -e "${wheels[0]}" ]; then
    python3 -m pip install -q --no-index --no-deps --upgrade --target .site "${wheels[@]}"
  fi
  # shellcheck disable=SC2086
  PYTHONPATH=.site:clients/python PYTHONUNBUFFERED=1 python3 -m benchmarks.cosyvoice3 --released \
    --precision bfloat16 --limit 540 --out "$2/gpu.jsonl" --plan $phases 2>>"$2/stderr.txt"
}

case ${1:-} in
  pack)
    rm -rf .whl
    # shellcheck disable=SC2086
    pack .whl/engine "${2:?the version of that Python}" $ENGINE
    # shellcheck disable=SC2086
    pack .whl/relay "$2" $RELAY
    # shellcheck disable=SC2046
    python3 -m pip wheel -q --no-deps -w .whl/relay $(pinned $SOURCE)
    du -sh .whl/*
    ;;
  [1-4]) call "$1" "${2:?a folder for what is found}" ;;
  *) sed -n '2,13s/^# \{0,1\}//p' "$0" && exit 2 ;;
esac
