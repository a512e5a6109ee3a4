"""What is told and how it is signed, what follows from a try, and which addresses are called."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network
from uuid import UUID

import pytest

from delivery.notify.decide import JITTER, PAUSES, Outcome, judge
from delivery.notify.sign import body_of, headers
from relay.notices import Ending, spelled
from relay.outward import Address, Outward, Refused, public
from schemas.states import State


def test_a_signature_is_the_one_of_the_specifications_own_example() -> None:
    spelling = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    secret = b64decode(spelling)
    said = headers("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}', secret)
    assert said == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    assert spelled(secret) == f"whsec_{spelling}"


def test_a_body_says_which_job_and_nothing_of_what_is_in_it() -> None:
    at = datetime(2026, 5, 1, tzinfo=UTC)
    ending = Ending(UUID(int=1), UUID(int=2), UUID(int=3), State.DELIVERED, at)
    body = body_of(ending)
    assert body == body_of(ending), "the same at every try"
    said = json.loads(body)
    assert said["type"] == "job.delivered"
    assert said["data"] == {"job_id": str(UUID(int=2)), "state": "delivered"}
    assert str(UUID(int=3)) not in body.decode()


TOOK, FAILED, GONE = Outcome("answered", 204), Outcome("answered", 500), Outcome("answered", 410)


def test_a_notice_is_tried_again_after_5_seconds_and_later_up_to_a_day() -> None:
    pauses = [judge(FAILED, tries, 1, 0.0).again for tries in range(1, 10)]
    assert pauses == list(PAUSES)
    assert (PAUSES[0], PAUSES[-1]) == (timedelta(seconds=5), timedelta(days=1))
    assert judge(FAILED, 1, 1, 1.0).again == PAUSES[0] * (1 + JITTER)


@pytest.mark.parametrize(
    ("outcome", "tries", "failures", "again", "disable"),
    [
        (TOOK, 1, 0, False, None),
        (Outcome("answered", 299), 1, 0, False, None),
        (FAILED, 1, 1, True, None),
        (Outcome("redirected", 302), 1, 1, True, None),
        (Outcome("timed_out"), 3, 3, True, None),
        (Outcome("address_refused"), 1, 1, True, None),
        (GONE, 1, 1, False, "gone"),
        (FAILED, 9, 9, True, None),
        (FAILED, 10, 10, False, "failing"),
        (FAILED, 10, 3, False, None),  # it took others meanwhile
    ],
)
def test_what_follows_from_a_try(
    outcome: Outcome, tries: int, failures: int, again: bool, disable: str | None
) -> None:
    verdict = judge(outcome, tries, failures, 0.5)
    assert (verdict.again is not None, verdict.disable) == (again, disable)
    assert (verdict.rest is not None) == again


@pytest.mark.parametrize(
    ("address", "good"),
    [
        ("1.1.1.1", True),
        ("2606:4700::1111", True),
        ("127.0.0.1", False),
        ("0.0.0.0", False),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),  # where clouds keep their secrets
        ("100.64.0.1", False),
        ("192.0.2.1", False),
        ("198.18.0.1", False),
        ("224.0.0.1", False),
        ("240.0.0.1", False),
        ("255.255.255.255", False),
        ("::1", False),
        ("::", False),
        ("fe80::1", False),
        ("fc00::1", False),
        ("ff02::1", False),
        ("2001:db8::1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:1.1.1.1", True),
        ("64:ff9b::7f00:1", False),
        ("64:ff9b::101:101", True),
        ("2002:7f00:1::", False),
        ("2002:a00:1::", False),
    ],
)
def test_only_what_is_anybodys_on_the_internet_is_public(address: str, good: bool) -> None:
    assert public(ip_address(address)) == good


def resolving(*addresses: str) -> Outward:
    async def resolve(host: str, port: int) -> Sequence[Address]:
        return [ip_address(each) for each in addresses]

    return Outward([ip_network("10.9.0.0/16")], resolve)


@pytest.mark.parametrize(
    ("url", "addresses", "code"),
    [
        ("https://a.example/hook?x=1", ["1.1.1.1", "2606:4700::1111"], None),
        ("https://a.example:8443/", ["1.1.1.1"], None),
        ("http://a.example/", ["1.1.1.1"], "url_not_https"),
        ("http://a.example/", ["10.9.1.1"], None),  # a network that the operator named
        ("https://a.example/", ["10.9.1.1"], None),
        ("https://a.example/", ["10.8.1.1"], "address_refused"),
        ("https://a.example/", ["1.1.1.1", "127.0.0.1"], "address_refused"),  # one is enough
        ("https://a.example/", [], "host_unknown"),
        ("ftp://a.example/", ["1.1.1.1"], "url_invalid"),
        ("https://user:pass@a.example/", ["1.1.1.1"], "url_invalid"),
        ("https://a.example/#x", ["1.1.1.1"], "url_invalid"),
        ("https://a.example:99999/", ["1.1.1.1"], "url_invalid"),
        ("https:///x", ["1.1.1.1"], "url_invalid"),
        ("https://a.example/\r\nHost: b", ["1.1.1.1"], "url_invalid"),
        ("https://例子.example/", ["1.1.1.1"], "url_invalid"),
        (f"https://a.example/{'x' * 2_000}", ["1.1.1.1"], "url_invalid"),
        ("javascript:alert(1)", ["1.1.1.1"], "url_invalid"),
        ("", ["1.1.1.1"], "url_invalid"),
    ],
)
async def test_what_a_url_leads_to_is_judged(
    url: str, addresses: list[str], code: str | None
) -> None:
    outward = resolving(*addresses)
    if code is None:
        target = await outward.find(url)
        assert [str(address) for address in target.addresses] == addresses
    else:
        with pytest.raises(Refused, match=f"^{code}$"):
            await outward.find(url)
    outward.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "2130706433", "0x7f.1", "localhost", "[::1]"])
async def test_this_machine_is_refused_however_it_is_spelled(host: str) -> None:
    outward = Outward()
    with pytest.raises(Refused) as refused:
        await outward.find(f"https://{host}/")
    assert refused.value.code in ("address_refused", "host_unknown")
    outward.close()
