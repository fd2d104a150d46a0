"""IPv4-mapped addresses are the same as IPv4 addresses."""

import ipaddress

import pytest
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress

from pushd.net.addresses import forwarded_host, host_of, is_in_networks, local_url


@pytest.mark.parametrize(
    ("address", "host"),
    [
        (IPv4Address("TCP", "192.0.2.7", 80), "192.0.2.7"),
        (IPv6Address("TCP", "::ffff:192.0.2.7", 80), "192.0.2.7"),
        (IPv6Address("TCP", "::FFFF:c000:207", 80), "192.0.2.7"),
        (IPv6Address("TCP", "2001:db8::1", 80), "2001:db8::1"),
        (IPv6Address("TCP", "fe80::1%eth0", 80), "fe80::1%eth0"),
        (IPv6Address("TCP", "::ffff:garbage", 80), "::ffff:garbage"),
        (UNIXAddress("/run/pushd.sock"), None),
        (None, None),
    ],
)
def test_host_of_a_peer(address, host):
    assert host_of(address) == host


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("192.0.2.7", "192.0.2.7"),
        (" 192.0.2.7:4711 ", "192.0.2.7"),
        ("2001:DB8:0::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:4711", "2001:db8::1"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("[::ffff:192.0.2.7]:4711", "192.0.2.7"),
        ("::FFFF:C000:207", "192.0.2.7"),
        ("fe80::1%eth0", None),
        ("fe80::1%$(reboot)", None),
        ("fe80::1%\x1b[2J", None),
        ("::ffff:192.0.2.7%1", None),
        ("192.0.2.300", None),
        ("unknown", None),
        ("", None),
    ],
)
def test_forwarded_address(text, host):
    assert forwarded_host(text) == host


@pytest.mark.parametrize(
    ("host", "network", "is_in"),
    [
        ("127.0.0.1", "127.0.0.1/32", True),
        ("::ffff:127.0.0.1", "127.0.0.1/32", True),
        ("127.0.0.1", "::ffff:127.0.0.1/128", True),
        ("10.1.2.3", "::ffff:10.0.0.0/104", True),
        ("11.1.2.3", "::ffff:10.0.0.0/104", False),
        ("10.1.2.3", "10.0.0.0/8", True),
        ("::a01:203", "10.0.0.0/8", False),
        ("fd00::1", "fd00::/8", True),
        ("fe80::1%eth0", "fe80::/10", True),
        ("fd00::1", "0.0.0.0/0", False),
        ("unknown", "0.0.0.0/0", False),
    ],
)
def test_host_in_a_network(host, network, is_in):
    assert is_in_networks(host, [ipaddress.ip_network(network)]) is is_in


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://localhost:80"),
        ("0.0.0.0", "http://localhost:80"),
        ("::1", "http://localhost:80"),
        ("::", "http://localhost:80"),
        ("192.0.2.7", "http://192.0.2.7:80"),
        ("2001:db8::7", "http://[2001:db8::7]:80"),
    ],
)
def test_url_for_programs_at_this_machine(host, url):
    assert local_url("http", host, 80) == url
