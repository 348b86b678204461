"""The URL of Redis: the options that are read, the URLs that are refused, and passwords, which are never shown."""

import pytest

from holdfast.redis.address import BadUrl, RedisAddress, RedisKind


def test_a_server() -> None:
    address = RedisAddress.parse("redis://localhost")
    assert (address.kind, address.hosts, address.db, address.tls) == (
        RedisKind.SINGLE,
        (("localhost", 6379),),
        0,
        False,
    )


def test_a_server_with_everything() -> None:
    address = RedisAddress.parse(
        "rediss://ann:p%40ss%2Fword@[::1]:7000/3?ssl_ca_certs=/ca.pem&timeout=0.5&prefix=shop"
    )
    assert (address.username, address.password) == ("ann", "p@ss/word")
    assert (address.hosts, address.db, address.tls) == ((("::1", 7000),), 3, True)
    assert (dict(address.ssl), address.timeout, address.prefix) == ({"ssl_ca_certs": "/ca.pem"}, 0.5, "shop")


def test_a_password_without_a_user() -> None:
    address = RedisAddress.parse("redis://:secret@localhost:6379/0")
    assert (address.username, address.password) == (None, "secret")


def test_a_socket() -> None:
    address = RedisAddress.parse("unix://:secret@/run/redis/redis.sock?db=2")
    assert (address.kind, address.socket, address.db, address.password) == (
        RedisKind.SINGLE,
        "/run/redis/redis.sock",
        2,
        "secret",
    )


def test_sentinels() -> None:
    address = RedisAddress.parse("redis+sentinel://ann:one@a:26379,b:26380,c/primary/1?sentinel_password=two")
    assert (address.kind, address.service, address.db) == (RedisKind.SENTINEL, "primary", 1)
    assert address.hosts == (("a", 26379), ("b", 26380), ("c", 26379))
    assert (address.password, address.sentinel_password) == ("one", "two")


def test_a_cluster_over_tls() -> None:
    address = RedisAddress.parse("rediss+cluster://a:7000,b:7001?ssl_cert_reqs=none&ssl_check_hostname=false")
    assert (address.kind, address.hosts, address.tls) == (RedisKind.CLUSTER, (("a", 7000), ("b", 7001)), True)
    assert dict(address.ssl) == {"ssl_cert_reqs": "none", "ssl_check_hostname": False}


@pytest.mark.parametrize(
    ("valkey", "redis"),
    [
        ("valkey://a/1", "redis://a/1"),
        ("valkeys://a/1", "rediss://a/1"),
        ("valkey+sentinel://a/x", "redis+sentinel://a/x"),
        ("valkeys+cluster://a,b", "rediss+cluster://a,b"),
    ],
)
def test_valkey_is_read_as_redis(valkey: str, redis: str) -> None:
    assert RedisAddress.parse(valkey) == RedisAddress.parse(redis)


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("localhost:6379", "is not a URL"),
        ("", "is not a URL"),
        ("http://localhost", 'begins with "http://"'),
        ("redis+tcp://localhost", 'begins with "redis+tcp://"'),
        ("redis://a,b/0", "names several hosts"),
        ("redis://a/x", "'x' where the number"),
        ("redis://a/0/1", "has the path"),
        ("redis://a:port/0", "has a host or a port that cannot be read"),
        ("redis://a:0/0", "has a host or a port that cannot be read"),
        ("redis://a:70000/0", "has a host or a port that cannot be read"),
        ("redis://[::1/0", "has a host or a port that cannot be read"),
        ("unix://run/redis.sock", "does not name a socket"),
        ("redis+sentinel://a,b", "does not say which service"),
        ("redis+sentinel://a/primary/0/x", "does not say which service"),
        ("redis+cluster://a/1", "a cluster has only database 0"),
        ("redis://a?db=1", "has the option 'db'"),
        ("redis://a?ssl_ca_certs=x", "has the option 'ssl_ca_certs'"),
        ("redis://a?decode_responses=true", "has the option 'decode_responses'"),
        ("redis://a?timeout=soon", "has an option 'timeout'"),
        ("redis://a?timeout=-1", "has an option 'timeout'"),
        ("redis://a?timeout=inf", "has an option 'timeout'"),
        ("redis://a?prefix=a%20b", "has an option 'prefix'"),
        ("rediss://a?ssl_cert_reqs=maybe", "has an option 'ssl_cert_reqs'"),
    ],
)
def test_the_error_names_the_part_of_a_url_that_cannot_be_read(url: str, what: str) -> None:
    with pytest.raises(BadUrl) as refused:
        RedisAddress.parse(url)
    assert what in refused.value.what
    assert refused.value.hint


@pytest.mark.parametrize(
    "url",
    [
        "redis://ann:hunter2@a:6379/0",
        "rediss://:hunter2@a",
        "unix://:hunter2@/run/redis.sock",
        "redis+sentinel://a:1,b:2/primary?sentinel_password=hunter2",
        "redis+cluster://:hunter2@a:1,b:2",
    ],
)
def test_a_password_is_never_shown(url: str) -> None:
    address = RedisAddress.parse(url)
    assert "hunter2" not in f"{address} {address!r}"
    again = str(address)
    assert RedisAddress.parse(again).hosts == address.hosts
    assert RedisAddress.parse(again).kind is address.kind


@pytest.mark.parametrize(
    "url",
    [
        "http://:hunter2@a",
        "redis://:hunter2@a:port",
        "redis://:hun/ter2hunter2@a",  # not encoded: the path begins in the middle of the password
        "redis://ann:1/hunter2@a",
        "redis://:x:hunter2@[a",
        "redis://ann:#hunter2@a/0",
        "redis://ann:?hunter2@a/0",
        "redis+sentinel://a?sentinel_password=hunter2",
        "redis://a?password=hunter2",
        "unix://:hunter2@",
    ],
)
def test_an_error_does_not_show_a_password_either(url: str) -> None:
    with pytest.raises(BadUrl) as refused:
        RedisAddress.parse(url)
    assert "hunter2" not in str(refused.value)
