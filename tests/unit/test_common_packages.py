"""Which packages are needed, and versions compared as dpkg does."""

import itertools
import subprocess

import pytest

from roles.common import package_plan
from roles.common.package_plan import INTERRUPTED, Needed

LOOK = ["ii \tnginx\t1.26.3-3+deb13u1", "rc \tcron\t3.0pl1-197", "iF \tsudo\t1.9.16p2-3"]


def test_nothing_is_needed_when_all_are_there_and_new_enough() -> None:
    assert package_plan.plan({"nginx": "1.26"}, LOOK) == package_plan.Plan((), False)


def test_missing_removed_and_half_installed_packages_are_needed() -> None:
    look = ["ii \tnginx\t1.26.3-3+deb13u1", "rc \tcron\t3.0pl1-197"]
    plan = package_plan.plan({"nginx": None, "cron": None, "age": "1.2"}, look)
    assert plan.needed == (Needed("cron", "", "not installed"), Needed("age", "1.2", "not installed"))
    assert package_plan.orders(plan) == {"packages": {"cron": "", "age": "1.2"}}


def test_a_package_that_was_not_configured_is_needed() -> None:
    assert package_plan.plan({"sudo": None}, LOOK).needed == (Needed("sudo", "", "not configured"),)


def test_a_package_older_than_its_minimum_is_needed() -> None:
    plan = package_plan.plan({"nginx": "1.28"}, LOOK)
    assert plan.needed == (Needed("nginx", "1.28", "1.26.3-3+deb13u1, wanted at least 1.28"),)


def test_a_cut_off_dpkg_is_finished_even_when_all_packages_are_there() -> None:
    assert package_plan.plan({"nginx": None}, [*LOOK, INTERRUPTED]).interrupted


VERSIONS = [
    "1.0~rc1",
    "1.0",
    "1.0-1",
    "1.0-1~bpo13+1",
    "1.0-1+deb13u1",
    "1:0.9",
    "1.0+dfsg-2",
    "1.0a",
    "1.10",
    "1.9.16p2-3",
]


@pytest.mark.parametrize(("left", "right"), list(itertools.combinations(VERSIONS, 2)))
def test_versions_compare_as_dpkg_compares_them(left: str, right: str) -> None:
    dpkg = subprocess.run(["dpkg", "--compare-versions", left, "lt", right]).returncode == 0
    assert package_plan.older(left, right) == dpkg
