"""Accounts as they should be, and nothing done to those that are."""

import pytest

from roles.common import account_plan
from roles.common.account_plan import Account

KEY = "ssh-ed25519 AAAA alice"
LOOK = [
    "root:x:0:0:root:/root:/bin/bash",
    "alice:x:1000:1000::/home/alice:/bin/bash",
    "",
    "root:x:0:",
    "sudo:x:27:alice",
    "alice:x:1000:",
    "",
    "f\t600\talice\t/home/alice/.ssh/authorized_keys",
    "",
    f"/home/alice/.ssh/authorized_keys:{KEY}",
]
ALICE = Account("alice", groups=("sudo",), ssh_keys=(KEY,))


def orders(*users: Account, absent: tuple[str, ...] = (), look: list[str] = LOOK) -> list[tuple[object, ...]]:
    return [change.order for change in account_plan.plan(users, absent, account_plan.parse(look))]


def test_nothing_is_done_to_an_account_that_is_as_it_should_be() -> None:
    assert orders(ALICE, absent=("bob",)) == []


def test_a_new_account_gets_its_groups_and_keys() -> None:
    bob = Account("bob", groups=("sudo", "release"), ssh_keys=(KEY,))
    assert orders(bob) == [
        ("group", "release"),
        ("add", "bob", "/bin/bash", "/home/bob", False, False),
        ("groups", "bob", ("sudo", "release")),
        ("keys", "bob", (KEY,)),
    ]


def test_a_system_account_has_no_shell_and_no_home() -> None:
    assert orders(Account("svc", system=True)) == [("add", "svc", "/usr/sbin/nologin", "/nonexistent", True, False)]
    with pytest.raises(ValueError, match="need a home"):
        Account("svc", system=True, ssh_keys=(KEY,))


def test_a_full_name_is_written_where_it_differs_and_left_alone_where_none_is_given() -> None:
    named = Account("alice", groups=("sudo",), full_name="Alice Example", ssh_keys=(KEY,))
    assert orders(named) == [("full_name", "alice", "Alice Example")]
    look = [line.replace("1000::", "1000:Alice Example:") for line in LOOK]
    assert orders(named, look=look) == orders(ALICE, look=look) == []
    assert ("full_name", "bob", "Bob") in orders(Account("bob", full_name="Bob"))


def test_groups_are_exact() -> None:
    assert orders(Account("alice", ssh_keys=(KEY,))) == [("groups", "alice", ())]


def test_a_key_added_by_hand_is_taken_away() -> None:
    assert orders(ALICE, look=[*LOOK, "/home/alice/.ssh/authorized_keys:ssh-rsa EVIL"]) == [("keys", "alice", (KEY,))]


@pytest.mark.parametrize("file", ["l\t777\talice", "f\t644\talice", "f\t600\tmallory"])
def test_a_key_file_of_another_kind_mode_or_owner_is_written_again(file: str) -> None:
    look = [line.replace("f\t600\talice", file) for line in LOOK]
    assert orders(ALICE, look=look) == [("keys", "alice", (KEY,))]


def test_keys_of_an_account_with_none_are_removed() -> None:
    assert orders(Account("alice", groups=("sudo",), ssh_keys=())) == [("keys", "alice", ())]
    assert orders(Account("alice", groups=("sudo",))) == []


def test_absent_accounts_are_removed_after_all_else() -> None:
    assert orders(Account("svc", system=True), absent=("alice",))[-1] == ("remove", "alice")
