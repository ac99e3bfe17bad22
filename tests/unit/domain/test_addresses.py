import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchover.config import PRIVATE_NETWORKS
from switchover.domain.addresses import AllowList, host_and_port

DEFAULT = AllowList(PRIVATE_NETWORKS)
EVERYTHING = AllowList(("0.0.0.0/0", "::/0"))


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1", "::1", "fd01::1"]
)
def test_private_and_loopback_addresses_are_allowed_by_default(address: str) -> None:
    assert DEFAULT.permits(address)


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "172.32.0.1", "2606:4700::1111", "100.128.0.1", "example.org", "", "10.1"]
)
def test_public_addresses_and_names_are_not(address: str) -> None:
    assert not DEFAULT.permits(address)


@pytest.mark.parametrize(
    "address",
    [
        *("169.254.169.254", "169.254.170.2", "169.254.0.1", "fe80::1", "fe80::1%eth0", "febf::1"),
        *("fd00:ec2::254", "100.100.100.200", "168.63.129.16", "192.0.0.192"),
        *("0.0.0.0", "0.1.2.3", "::", "224.0.0.1", "239.255.255.255", "ff02::1", "255.255.255.255"),
        *("::ffff:169.254.169.254", "::ffff:0.0.0.0", "::ffff:a9fe:a9fe", "2002:a9fe:a9fe::1", "64:ff9b::a9fe:a9fe"),
    ],
)
def test_some_addresses_are_refused_whatever_the_list_says(address: str) -> None:
    assert not EVERYTHING.permits(address)


def test_an_ipv4_address_in_ipv6_clothes_is_judged_as_ipv4() -> None:
    only_ten = AllowList(("10.0.0.0/8",))
    assert only_ten.permits("::ffff:10.0.0.1")
    assert only_ten.permits("64:ff9b::a00:1")
    assert not only_ten.permits("::ffff:11.0.0.1")
    assert not AllowList(("::/0",)).permits("::ffff:10.0.0.1")


def test_brackets_of_a_url_are_understood() -> None:
    assert DEFAULT.permits("[::1]")


def test_an_empty_list_allows_nothing() -> None:
    assert not AllowList(()).permits("127.0.0.1")


@given(st.ip_addresses(v=4))
def test_mapping_changes_no_judgement(address: object) -> None:
    assert DEFAULT.permits(str(address)) == DEFAULT.permits(f"::ffff:{address}")


def test_a_bad_network_is_named() -> None:
    with pytest.raises(ValueError, match=r"10\.0\.0\.1/8"):
        AllowList(("10.0.0.1/8",))


@pytest.mark.parametrize(
    ("given_text", "expected"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("10.0.0.1:8080", "10.0.0.1:8080"),
        ("::1", "[::1]"),
        ("[::1]:8080", "[::1]:8080"),
        ("green.svc.local:80", "green.svc.local:80"),
        ("bücher.example:81", "xn--bcher-kva.example:81"),
    ],
)
def test_addresses_become_the_middle_of_a_url(given_text: str, expected: str) -> None:
    assert host_and_port(given_text) == expected


@pytest.mark.parametrize("text", ["", "a/b", "user@host", "a b", "host?x", "1:2:3", "host\r\nX: y"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        host_and_port(text)
