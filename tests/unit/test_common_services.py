"""A unit runs what is on disk, or something is done about it."""

import subprocess
from pathlib import Path

import pytest

from roles.common import facts, service_plan
from roles.common.service_plan import Look, Unit

UP = {"LoadState": "loaded", "ActiveState": "active", "UnitFileState": "enabled", "NeedDaemonReload": "no"}
FILES = {
    "/etc/nginx/nginx.conf": "aaa 1",
    "/etc/nginx/conf.d/x.conf": "bbb 1",
    "/etc/systemd/system/nginx.service.d/limits.conf": "ccc 1",
    "/etc/other": "ddd 1",
}
NGINX = Unit("nginx.service", ("/etc/nginx",), reload=True)


def record(unit: Unit = NGINX, files: dict[str, str] = FILES) -> str:
    return service_plan.plan([unit], [Look(UP | {"ActiveState": "failed"}, "")], files).actions[0].record


def verbs(unit: Unit, look: Look, files: dict[str, str] = FILES) -> tuple[str, ...]:
    actions = service_plan.plan([unit], [look], files).actions
    return actions[0].verbs if actions else ()


def test_a_unit_that_runs_what_is_on_disk_is_left_alone() -> None:
    assert verbs(NGINX, Look(UP, record())) == ()


def test_files_of_others_do_not_matter() -> None:
    assert verbs(NGINX, Look(UP, record()), FILES | {"/etc/other": "eee 2", "/etc/nginx-other/x": "f 1"}) == ()


@pytest.mark.parametrize(
    "change",
    [
        {"/etc/nginx/nginx.conf": "zzz 2"},
        {"/etc/nginx/conf.d/new.conf": "zzz 2"},
        # Edited by hand, taken up, put back: the content is the old one again.
        {"/etc/nginx/nginx.conf": "aaa 3"},
    ],
)
def test_changed_files_are_taken_up_by_a_reload_where_the_unit_can(change: dict[str, str]) -> None:
    assert verbs(NGINX, Look(UP, record()), FILES | change) == ("reload",)
    unit = Unit("nginx.service", ("/etc/nginx",))
    assert verbs(unit, Look(UP, record(unit)), FILES | change) == ("restart",)


def test_a_removed_file_counts() -> None:
    left = {path: stamp for path, stamp in FILES.items() if "x.conf" not in path}
    assert verbs(NGINX, Look(UP, record()), left) == ("reload",)


def test_a_changed_drop_in_leads_to_a_restart() -> None:
    changed = FILES | {"/etc/systemd/system/nginx.service.d/limits.conf": "zzz 2"}
    plan = service_plan.plan([NGINX], [Look(UP | {"NeedDaemonReload": "yes"}, record())], changed)
    assert plan.daemon_reload
    assert plan.actions[0].verbs == ("restart",)
    assert verbs(NGINX, Look(UP, record()), changed) == ("restart",)


def test_without_a_record_a_running_unit_is_restarted() -> None:
    action = service_plan.plan([NGINX], [Look(UP, "")], FILES).actions[0]
    assert (action.verbs, action.why) == (("restart",), "nothing is known of what it was started with")


def test_a_unit_that_does_not_run_is_started_and_enabled() -> None:
    off = UP | {"ActiveState": "inactive", "UnitFileState": "disabled"}
    assert verbs(NGINX, Look(off, record())) == ("enable", "restart")
    for state in ("masked", "masked-runtime"):
        off["UnitFileState"] = state
        assert verbs(NGINX, Look(off, "")) == ("unmask", "unmask --runtime", "enable", "restart")


def test_a_unit_that_must_not_run_is_stopped_disabled_and_forgotten() -> None:
    unit = Unit("apt-daily.timer", enabled=False, running=False)
    actions = service_plan.plan([unit], [Look(UP, "old record")], {}).actions
    assert (actions[0].verbs, actions[0].record) == (("disable", "stop"), "")
    off = UP | {"ActiveState": "inactive", "UnitFileState": "disabled"}
    assert verbs(unit, Look(off, "")) == ()
    assert verbs(unit, Look(off | {"ActiveState": "failed"}, "")) == ("reset-failed",), "it would count as failed"


def test_a_static_unit_needs_no_enabling() -> None:
    unit = Unit("mainstay.service", running=False)
    assert verbs(unit, Look(UP | {"ActiveState": "inactive", "UnitFileState": "static"}, "")) == ()


def test_a_running_unit_whose_probe_fails_is_reloaded_where_it_can_be() -> None:
    unit = Unit("nginx.service", ("/etc/nginx",), reload=True, probe="curl localhost")
    action = service_plan.plan([unit], [Look(UP, record(), probed=False)], FILES).actions[0]
    assert (action.verbs, action.why) == (("reload",), "its probe fails")
    assert verbs(unit, Look(UP, record(), probed=True)) == ()


def test_each_probe_speaks_for_its_own_unit() -> None:
    units = [Unit("a.service", probe="cat; false"), Unit("b.service"), Unit("c.service", probe="exit 0")]
    names = [unit.name for unit in units]
    command = facts.ServiceLook().command(names, ["/none"], service_plan.probes(units))
    script = f"systemctl() {{ echo ActiveState=active; echo; echo ActiveState=active; echo; echo Id=c; }}; {command}"
    output = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout
    looks, files = service_plan.parse(units, facts.ServiceLook().process(output.splitlines()) or [])
    assert ([look.probed for look in looks], looks[2].properties, files) == ([False, True, True], {"Id": "c"}, {})


def test_what_the_shell_expands_is_what_belongs_to_the_unit(tmp_path: Path) -> None:
    """The patterns of a look are expanded by the host's shell, and matched again here."""
    for name in (
        "a.conf",
        "b.conf.bak",
        ".hidden.conf",
        "with space.conf",
        "sub/c.conf",
        "dir.d/deep/er",
        "q1",
        "q2",
        "q3",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    unit = Unit("x.service", (f"{tmp_path}/*.conf", f"{tmp_path}/dir.d", f"{tmp_path}/q[12]", f"{tmp_path}/none"))
    command = facts.ServiceLook().command(["x.service"], service_plan.patterns([unit]), [])
    script = f"systemctl() {{ echo LoadState=not-found; }}; {command}"

    def look() -> dict[str, str]:
        output = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout
        looks, files = service_plan.parse([unit], facts.ServiceLook().process(output.splitlines()) or [])
        assert looks == [Look({"LoadState": "not-found"}, "")]
        return files

    files = look()
    names = {"a.conf", "with space.conf", "dir.d", "dir.d/deep", "dir.d/deep/er", "q1", "q2"}
    assert {Path(path).relative_to(tmp_path).as_posix() for path in files} == names
    everything = record(unit, files)
    (tmp_path / "a.conf").chmod(0o600)
    assert record(unit, look()) != everything
    before = look()
    (tmp_path / "dir.d/guest").touch()
    (tmp_path / "dir.d/guest").unlink()
    assert record(unit, look()) != record(unit, before)
    for path in files:
        assert record(unit, files | {path: "changed"}) != everything, path
    assert record(unit, files | {f"{tmp_path}/q3": "x", f"{tmp_path}/.hidden.conf": "x"}) == everything


def test_a_unit_that_its_conditions_kept_from_running_is_left_alone_where_that_is_told() -> None:
    unit = Unit("nginx.service", ("/etc/nginx",), conditional=True)
    kept = UP | {"ActiveState": "inactive", "ConditionResult": "no", "ConditionTimestampMonotonic": "17"}
    assert verbs(unit, Look(kept, record(unit))) == ()
    assert verbs(NGINX, Look(kept, record())) == ("restart",)
    assert verbs(unit, Look(kept | {"ConditionTimestampMonotonic": "0"}, record(unit))) == ("restart",), "never tried"
    assert verbs(unit, Look(kept | {"ConditionResult": "yes"}, record(unit))) == ("restart",), "it ended"
    assert verbs(unit, Look(kept, record(unit)), FILES | {"/etc/nginx/nginx.conf": "zzz 2"}) == ("restart",)
