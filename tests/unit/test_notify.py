"""People are told of what begins and what ends, once; a channel that is down is told later."""

import json
from collections.abc import Iterator
from dataclasses import replace
from email import message_from_bytes
from email.policy import default
from pathlib import Path

import pytest

from backup import notify
from backup.data_set import Finding, Kind, Subject
from backup.notify import Channels, NotTold, ping, tell, watched
from tests.post_office import Server, serving
from tests.unit.ledgers import at

GONE = Finding(Kind.GONE, "release-1", "release", "1 snapshot is no longer in the vault: abc", "Find out who.")
LATE = Finding(Kind.LATE, "web-1", "web", "the newest complete backup is of 2 days ago", "Run it.")


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as running:
        yield running


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state/told.json"


@pytest.fixture
def outbox(tmp_path: Path) -> Path:
    return tmp_path / "outbox"


@pytest.fixture
def channels(server: Server, tmp_path: Path, outbox: Path) -> Channels:
    """A webhook, and a sendmail that puts what it is given into a folder, with its arguments."""
    outbox.mkdir()
    program = tmp_path / "sendmail"
    program.write_text(
        f"#!/bin/sh\n[ -e {outbox}/down ] && {{ echo no smarthost >&2; exit 75; }}\nn=$(ls {outbox} | wc -l)\n"
        f'echo "$@" > {outbox}/$n.arguments; cat > {outbox}/$n.mail\n'
    )
    program.chmod(0o755)
    return Channels(f"{server.url}/hook/secret", "ops@example.org", "prod", str(program))


def mails(outbox: Path) -> list[tuple[str, str]]:
    """Subjects and texts, in order."""
    found = []
    for path in sorted(outbox.glob("*.mail"), key=lambda path: int(path.stem)):
        message = message_from_bytes(path.read_bytes(), policy=default)
        body = message.get_body()
        assert body
        found.append((str(message["Subject"]), body.get_content()))
    return found


def test_only_what_begins_and_what_ends_is_told(server: Server, channels: Channels, state: Path, outbox: Path) -> None:
    for hour, found in enumerate([[], [], [GONE], [GONE], [GONE, LATE], [LATE], [LATE], [], []]):
        assert tell(found, channels, state, at(hour)) == []
    began_ended = [(message["began"], message["ended"]) for message in server.messages()]
    told = [([one["kind"] for one in began], [one["kind"] for one in ended]) for began, ended in began_ended]
    assert told == [
        (["snapshot gone"], []),
        (["late"], []),
        ([], ["snapshot gone"]),
        ([], ["late"]),
    ]
    assert [message["state"] for message in server.messages()] == ["failing", "failing", "failing", "ok"]
    assert [subject for subject, _ in mails(outbox)] == [
        "[prod] release-1:release: snapshot gone",
        "[prod] web-1:web: late",
        "[prod] over: release-1:release: snapshot gone",
        "[prod] over: web-1:web: late",
    ]
    texts = [text for _, text in mails(outbox)]
    assert "Find out who." in texts[0]
    assert "since 2026-11-25T14:00:00+00:00" in texts[2]
    assert texts[3].endswith("All is well again.\n")
    assert (outbox / "0.arguments").read_text() == "-i -t\n"


def test_the_message_says_what_and_what_to_do(server: Server, channels: Channels, state: Path) -> None:
    tell([GONE], channels, state, at(0))
    [(path, body)] = server.got
    assert path == "/hook/secret"
    message = json.loads(body)
    assert message["began"] == [
        {
            "data_set": "release-1:release",
            "kind": "snapshot gone",
            "severity": "critical",
            "what": GONE.what,
            "to_do": GONE.to_do,
            "since": "2026-11-25T12:00:00+00:00",
        }
    ]
    assert message["text"].startswith("prod: snapshot gone: release-1:release: 1 snapshot is no")
    assert (message["site"], message["time"]) == ("prod", "2026-11-25T12:00:00+00:00")


def test_other_words_about_the_same_are_no_news(server: Server, channels: Channels, state: Path) -> None:
    for hour, days in enumerate((2, 3)):
        tell([Finding(Kind.LATE, "web-1", "web", f"of {days} days ago", "Run it.")], channels, state, at(hour))
    assert len(server.got) == 1


def lost(*ids: str, store: str = "vault") -> Finding:
    what = f"{len(ids)} no longer in the {store}"
    return Finding(Kind.GONE, "release-1", "release", what, "Find out who.", Subject(store, ids))


def began(server: Server) -> list[list[str]]:
    """What was told to have begun, message by message."""
    return [[one["what"] for one in message["began"]] for message in server.messages()]


def test_a_second_loss_of_the_same_kind_is_told(server: Server, channels: Channels, state: Path) -> None:
    for hour, found in enumerate([[lost("a")], [lost("a")], [lost("a", "b")], [lost("a", "b")]]):
        tell(found, channels, state, at(hour))
    assert began(server) == [["1 no longer in the vault"], ["2 no longer in the vault"]]
    assert [message["ended"] for message in server.messages()] == [[], []]
    assert [message["began"][0]["since"] for message in server.messages()] == ["2026-11-25T12:00:00+00:00"] * 2


def test_less_of_the_same_is_no_news_and_what_is_lost_again_is(server: Server, channels: Channels, state: Path) -> None:
    for hour, ids in enumerate(["ab", "b", "ab", "c"]):
        tell([lost(*ids)], channels, state, at(hour))
    assert [words[0][0] for words in began(server)] == ["2", "2", "1"]


def test_what_is_hit_in_the_vault_and_in_the_copy_is_told_apart(
    server: Server, channels: Channels, state: Path
) -> None:
    both = [lost("a"), lost("a", store="copy")]
    for hour, found in enumerate([both[:1], both, both, both[1:], []]):
        tell(found, channels, state, at(hour))
    told = [([one["what"][-5:] for one in m["began"]], len(m["ended"]), m["state"]) for m in server.messages()]
    assert told == [
        (["vault"], 0, "failing"),
        ([" copy"], 0, "failing"),
        ([], 1, "failing"),
        ([], 1, "ok"),
    ]


def test_what_was_told_before_findings_had_a_subject_is_not_told_again(
    server: Server, channels: Channels, state: Path
) -> None:
    told = {"data_set": "release-1:release", "severity": "critical", "what": "w", "to_do": "d", "since": "s"}
    failed = Finding(Kind.FAILED, "release-1", "release", "w", "d")
    before = {f"release-1:release {kind}": told | {"kind": kind} for kind in ("snapshot gone", "failed")}
    state.parent.mkdir()
    state.write_text(json.dumps({"webhook": before, "mail": before}))
    for hour in range(2):
        tell([lost("a"), failed], channels, state, at(hour))
    assert server.got == []
    tell([lost("a", "b"), lost("c", store="copy"), failed], channels, state, at(2))
    tell([lost("c", store="copy")], channels, state, at(3))
    assert [(len(message["began"]), len(message["ended"])) for message in server.messages()] == [(2, 0), (0, 2)]
    assert server.messages()[1]["ended"][0]["since"] == "s"


def test_a_look_that_brings_nothing_new_notes_nothing(
    server: Server, channels: Channels, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that a full disk is no problem of it."""
    tell([LATE], channels, state, at(0))
    monkeypatch.setattr(notify, "replace", None)
    assert tell([replace(LATE, what="the newest complete backup is of 3 days ago")], channels, state, at(1)) == []


def test_a_channel_that_is_down_is_told_later_and_the_other_at_once(
    server: Server, channels: Channels, state: Path, outbox: Path
) -> None:
    server.answers = [404]
    [problem] = tell([GONE], channels, state, at(0))
    assert problem == "webhook: 127.0.0.1 answered 404; it is told at the next look"
    assert len(mails(outbox)) == 1
    assert tell([GONE], channels, state, at(1)) == []
    assert len(mails(outbox)) == 1
    assert [len(message["began"]) for message in server.messages()] == [1, 1]
    (outbox / "down").touch()
    [problem] = tell([], channels, state, at(2))
    assert problem.startswith("mail: ")
    assert "exited 75: no smarthost" in problem
    (outbox / "down").unlink()
    assert tell([], channels, state, at(3)) == []
    assert [subject for subject, _ in mails(outbox)][-1] == "[prod] over: release-1:release: snapshot gone"


def test_a_passing_failure_is_tried_again(server: Server, channels: Channels, state: Path) -> None:
    server.answers = [503, 429]
    assert tell([GONE], channels, state, at(0)) == []
    assert len(server.got) == 3


def test_a_redirection_is_not_taken_for_delivery(server: Server, channels: Channels, state: Path) -> None:
    server.answers = [302]
    assert "answered 302" in tell([GONE], channels, state, at(0))[0]
    assert [path for path, _ in server.got] == ["/hook/secret"]


def test_a_secret_address_is_in_no_problem(channels: Channels, state: Path, server: Server) -> None:
    server.shutdown()
    server.server_close()
    [problem] = tell([GONE], channels, state, at(0))
    assert "127.0.0.1 did not answer" in problem
    assert "secret" not in problem


@pytest.mark.parametrize(
    "address", ["https://[secret", "secret", f"https://{'secret' * 20}.org/", "https://x:port/secret"]
)
def test_an_address_that_is_none_keeps_neither_the_look_nor_the_other_channel_back(
    channels: Channels, state: Path, outbox: Path, address: str
) -> None:
    problems: list[str] = []
    with watched(address, problems.append):
        problems += tell([GONE], replace(channels, webhook=address), state, at(0))
    assert len(mails(outbox)) == 1
    assert [problem.partition(":")[0] for problem in problems] == ["dead man's switch", "webhook", "dead man's switch"]
    assert "/secret" not in "".join(problems)


def test_a_sendmail_that_is_not_there_is_told(state: Path) -> None:
    assert tell([GONE], Channels(mail="ops@example.org", sendmail="/nowhere"), state, at(0)) == [
        "mail: /nowhere: FileNotFoundError; it is told at the next look"
    ]


@pytest.mark.parametrize("damaged", ["", "{", "[]", '{"webhook": 1}'])
def test_a_damaged_memory_tells_all_again(server: Server, channels: Channels, state: Path, damaged: str) -> None:
    tell([GONE], channels, state, at(0))
    state.write_text(damaged)
    assert tell([GONE], channels, state, at(1)) == []
    assert len(server.got) == 2
    tell([GONE], channels, state, at(2))
    assert len(server.got) == 2


def test_a_kill_after_sending_may_tell_twice_but_never_not_at_all(
    server: Server, channels: Channels, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(notify, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        tell([GONE], channels, state, at(0))
    monkeypatch.undo()
    tell([GONE], channels, state, at(1))
    assert len(server.got) == 2
    assert state.stat().st_mode & 0o777 == 0o600


def test_words_of_a_host_make_no_header(channels: Channels, state: Path, outbox: Path) -> None:
    evil = Finding(Kind.FAILED, "release-1\nBcc: all@example.org", "x", "\udce9\n.\n", "")
    assert tell([evil], channels, state, at(0)) == []
    [(subject, text)] = mails(outbox)
    assert subject == "[prod] release-1\\nBcc: all@example.org:x: failed"
    assert "\\udce9\\n.\\n" in text


def test_no_channel_no_word(state: Path) -> None:
    assert tell([GONE], Channels(), state, at(0)) == []
    assert not state.exists()


@pytest.mark.parametrize(("end", "path"), [("", "/ping/1"), ("/", "/ping/1"), ("?create=1", "/ping/1")])
def test_pings_are_those_of_healthchecks(server: Server, end: str, path: str) -> None:
    query = end if end.startswith("?") else ""
    for signal in ("start", "ok", "fail"):
        ping(f"{server.url}/ping/1{end}", signal, "x" * 20_000)
    assert [where for where, _ in server.got] == [f"{path}/start{query}", f"{path}{query}", f"{path}/fail{query}"]
    assert {len(body) for _, body in server.got} == {10_000}


def test_a_ping_that_is_not_taken_is_an_error(server: Server) -> None:
    server.answers = [404]
    with pytest.raises(NotTold, match=r"127\.0\.0\.1 answered 404"):
        ping(f"{server.url}/secret", "ok")


def test_work_is_watched_from_start_to_end(server: Server) -> None:
    problems: list[str] = []
    with watched(f"{server.url}/p", problems.append):
        assert [path for path, _ in server.got] == ["/p/start"]
    with pytest.raises(ValueError, match="broken"), watched(f"{server.url}/p", problems.append):
        raise ValueError("broken")
    assert server.got == [("/p/start", b""), ("/p", b""), ("/p/start", b""), ("/p/fail", b"broken")]
    server.answers = [404, 404]
    with watched(f"{server.url}/p", problems.append):
        pass
    assert problems == ["dead man's switch: 127.0.0.1 answered 404"] * 2
    with watched("", problems.append):
        pass
    assert len(server.got) == 6
