"""Through the doors and every stage, on both set-ups, with real speech."""

from __future__ import annotations

import base64
import hashlib
import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import httpx
import pytest
from websockets.sync.client import connect

from tests.journeys.conftest import House
from tests.journeys.steps import ended, events, listen, recording, send, told

pytestmark = pytest.mark.timeout(400)

ONWARD = ["accepted", "uploaded", "approved", "synthesized", "delivered"]
CHAIN = {"prompt-uploaded", "prompt-approved", "speech-synthesized", "speech-delivered"}


def test_a_text_and_a_recording_come_back_as_labelled_speech(
    house: House, client: httpx.Client
) -> None:
    job = send(client)
    seen = list(events(client, job))
    assert [event["state"] for event in seen] == ONWARD
    assert [event["seq"] for event in seen] == [0, 1, 2, 3, 4]
    shown = client.get(f"/v1/jobs/{job}").json()
    sound = client.get(shown["audio"]["url"])
    codec, seconds, tags = listen(sound.content)
    assert codec.startswith("mp3")
    assert seconds == pytest.approx(shown["audio"]["seconds"], abs=0.1)
    assert 0.5 < seconds < 10
    assert hashlib.sha256(sound.content).hexdigest() == shown["audio"]["sha256"]
    assert job in json.dumps(dict(tags))
    assert shown["spoken"]["cloned"] is False
    assert Counter(topic for topic, _ in told(house.settings, job)) == dict.fromkeys(CHAIN, 1)


def test_a_part_of_the_sound_can_be_asked_for(client: httpx.Client) -> None:
    url = ended(client, send(client))["audio"]["url"]
    whole = client.get(url).content
    part = client.get(url, headers={"Range": "bytes=100-199"})
    assert part.status_code == 206
    assert part.content == whole[100:200]


@pytest.mark.parametrize(("form", "codec"), [("wav", "pcm_s16le"), ("m4a", "aac")])
def test_the_file_is_of_the_format_asked_for(client: httpx.Client, form: str, codec: str) -> None:
    shown = ended(client, send(client, format=form))
    assert shown["audio"]["format"] == form
    assert listen(client.get(shown["audio"]["url"]).content)[0] == codec


def test_the_same_job_by_json_adopts_what_was_spoken_before(client: httpx.Client) -> None:
    text = f"第{uuid4().int % 1000}次。"
    first = ended(client, send(client, text))
    body = {"text": text, "recording": base64.b64encode(recording()).decode()}
    second = ended(client, client.post("/v1/jobs", json=body).json()["job_id"])
    assert second["state"] == "delivered"
    assert second["job_id"] != first["job_id"]
    assert second["audio"]["seconds"] == first["audio"]["seconds"]
    assert second["audio"]["sha256"] != first["audio"]["sha256"], "its label names its own job"


def test_the_first_clients_door_answers_as_it_always_did(client: httpx.Client) -> None:
    body = {
        "text": "你好, 我是小助手。",
        "prompt_audio": base64.b64encode(recording()).decode(),
        "mode": "zero_shot",
        "instruct": "",
    }
    answer = client.post("/tts", json=body)
    assert answer.status_code == 200, answer.text
    said = answer.json()
    assert set(said) >= {"success", "audio_url", "task_id", "duration"}
    assert said["success"] is True
    assert listen(client.get(said["audio_url"]).content)[1] == pytest.approx(
        said["duration"], abs=0.1
    )


def test_the_same_request_at_the_same_time_is_one_job(client: httpx.Client) -> None:
    key = str(uuid4())
    with ThreadPoolExecutor(4) as pool:
        jobs = set(pool.map(lambda _: send(client, "只说一次。", key=key), range(4)))
    assert len(jobs) == 1
    assert ended(client, jobs.pop())["state"] == "delivered"


def test_a_listed_word_is_refused_with_a_reason_and_nothing_is_spoken(
    house: House, client: httpx.Client
) -> None:
    job = send(client, "这里出售枪支。")
    shown = ended(client, job)
    assert shown["state"] == "rejected"
    assert shown["audio"] is None
    (reason,) = shown["reasons"]
    assert reason["where"] == "text"
    assert "枪支" not in json.dumps(reason, ensure_ascii=False)
    topics = sorted(topic for topic, _ in told(house.settings, job))
    assert topics == ["prompt-rejected", "prompt-uploaded"]


def test_whoever_comes_late_or_again_sees_every_event_once(client: httpx.Client) -> None:
    job = send(client)
    ended(client, job)
    # The view reads each topic by itself: a busy one may be told of after what follows from it.
    assert sorted(event["state"] for event in events(client, job)) == sorted(ONWARD)
    assert [event["seq"] for event in events(client, job, after=2)] == [3, 4]


def test_a_socket_tells_the_same_story(house: House, client: httpx.Client) -> None:
    job = send(client, f"编号{uuid4().int % 1000}。")
    with connect(house.url.replace("http", "ws") + "/v1/ws") as socket:
        socket.send(json.dumps({"subscribe": job, "after": 0}))
        states = []
        while len(states) < len(ONWARD[1:]):
            said = json.loads(socket.recv(timeout=150))
            if said["type"] != "queue":  # where it stands, as often as that changes
                assert said["type"] == "state", said
                states.append(said["state"])
    assert sorted(states) == sorted(ONWARD[1:])


def test_another_persons_job_is_no_job(client: httpx.Client) -> None:
    answer = client.get(f"/v1/jobs/{uuid4()}")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "job_unknown"


def test_english_is_heard_and_spoken(client: httpx.Client) -> None:
    shown = ended(client, send(client, "Good morning.", sound=recording("english")))
    assert shown["state"] == "delivered"
    assert shown["language"] == "en"
