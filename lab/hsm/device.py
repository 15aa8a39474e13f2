"""The device: takes frames, one at a time, and answers them; its log and what it stores are on disk before it does."""

import time
from collections.abc import Callable
from threading import RLock

from yubihsm.defs import ALGORITHM, AUDIT, CAPABILITY, COMMAND, ERROR, OBJECT

from lab.hsm import keys, wire
from lab.hsm.commands import COMMANDS
from lab.hsm.commands.call import Call, Command
from lab.hsm.faults import Fault, Faults
from lab.hsm.objects import NO_ID, NOBODY, StoredObject
from lab.hsm.session import POINT_BYTES, Session, Sessions
from lab.hsm.storage import FIRMWARE, Storage
from lab.hsm.wire import DeviceError

WITH_FULL_LOG = (
    *(COMMAND.CREATE_SESSION, COMMAND.AUTHENTICATE_SESSION, COMMAND.DEVICE_INFO, COMMAND.GET_DEVICE_PUBLIC_KEY),
    *(COMMAND.GET_LOG_ENTRIES, COMMAND.SET_LOG_INDEX),
)
"""What a device under forced audit does although no slot is free. Of these GET_LOG_ENTRIES, too, is refused when it is
to be logged itself: nothing but a factory reset by hand frees a slot then. Of sessions that begin it counts how many it
could not log."""


class Unplugged(Exception):
    """There is no device."""


class Device:
    """serial: of a new device, else one at random. clock: seconds, of which only differences count.

    watchers are told whether it is plugged in whenever that changes, from whatever thread does it.
    """

    def __init__(
        self, storage: Storage, serial: int | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.faults = Faults()
        self.watchers: list[Callable[[bool], None]] = []
        self.plugged = False
        self._storage, self._clock = storage, clock
        self._lock = RLock()
        self._state = storage.load(serial)
        self._sessions = Sessions(clock)
        self._booted = 0.0
        self._spoil = False
        self.plug()

    @property
    def serial(self) -> int:
        return self.faults.serial or self._state.serial

    @property
    def firmware(self) -> tuple[int, int, int]:
        return self.faults.firmware or FIRMWARE

    def plug(self) -> None:
        """Gives it power, unless it has it: it boots, and logs that."""
        with self._lock:
            if self.plugged:
                return
            self._boot()
            self._storage.save(self._state)
            self.plugged = True
            self._tell()

    def unplug(self) -> None:
        with self._lock:
            self._sessions.clear()
            if self.plugged:
                self.plugged = False
                self._tell()

    def bring_about(self, fault: Fault) -> None:
        """Has the fault happen, at once or when it comes to that."""
        with self._lock:
            if fault.kind == "full_log":
                while not self._state.log.full:
                    self._state.log.add(COMMAND.BLINK_DEVICE, 1, NO_ID, NO_ID, NO_ID, COMMAND.BLINK_DEVICE | 0x80, 0)
                self._storage.save(self._state)
            elif fault.kind == "unplug" and not fault.command:
                self.unplug()
            else:
                self.faults.all.append(fault)
                if fault.kind in ("serial", "firmware"):
                    self._replug()

    def undo_faults(self) -> None:
        """Ends all faults; it is plugged in then, and what it logged stays."""
        with self._lock:
            other = bool(self.faults.serial or self.faults.firmware)
            self.faults.all.clear()
            if other:
                self._replug()
            self.plug()

    def transceive(self, raw: bytes) -> bytes:
        """Answers a frame, whatever it is. Raises Unplugged."""
        with self._lock:
            if not self.plugged:
                raise Unplugged
            self._spoil = False
            try:
                answer = self._answer(*wire.parse(raw))
            except DeviceError as error:
                answer = wire.error(error.code)
            return answer[:-1] + bytes([answer[-1] ^ 0xFF]) if self._spoil else answer

    def _answer(self, command: int, data: bytes) -> bytes:
        outside: dict[int, Callable[[Call], bytes]] = {
            COMMAND.ECHO: COMMANDS[COMMAND.ECHO].run,
            COMMAND.DEVICE_INFO: COMMANDS[COMMAND.DEVICE_INFO].run,
            COMMAND.GET_DEVICE_PUBLIC_KEY: self._public_key,
            COMMAND.CREATE_SESSION: self._create_session,
            COMMAND.AUTHENTICATE_SESSION: self._authenticate,
        }
        if command == COMMAND.SESSION_MESSAGE:
            return self._message(data)
        if command not in outside:
            raise DeviceError(ERROR.INVALID_COMMAND)
        return self._carry_out(COMMAND(command), data, Command(CAPABILITY.NONE, outside[command]), NOBODY)

    def _public_key(self, call: Call) -> bytes:
        public = keys.public(ALGORITHM.EC_P256, self._state.identity)
        return bytes([ALGORITHM.EC_P256_YUBICO_AUTHENTICATION]) + public

    def _create_session(self, call: Call) -> bytes:
        call.target, host = call.head("H")
        key = self._state.find(OBJECT.AUTHENTICATION_KEY, call.target)
        if key is None:
            raise DeviceError(ERROR.OBJECT_NOT_FOUND)
        asymmetric = key.algorithm == ALGORITHM.EC_P256_YUBICO_AUTHENTICATION
        if asymmetric and len(host) != POINT_BYTES:
            raise DeviceError(ERROR.WRONG_LENGTH)
        session = self._sessions.create(key.model_copy())
        try:
            answer = session.agree(host, self._state.identity) if asymmetric else session.challenge(host)
        except DeviceError:
            self._sessions.close(session.number)
            raise
        return bytes([session.number]) + answer

    def _authenticate(self, call: Call) -> bytes:
        session = self._sessions.of(call.data)
        call.target = session.key.id
        try:
            session.authenticate(call.data)
        except DeviceError:
            self._sessions.close(session.number)
            raise
        return b""

    def _message(self, data: bytes) -> bytes:
        session = self._sessions.of(data)
        try:
            inner = session.opened(data)
        except DeviceError as error:
            if error.code == ERROR.AUTHENTICATION_FAILED:
                self._sessions.close(session.number)
            raise
        return session.sealed(self._in_session(session, inner))

    def _in_session(self, session: Session, inner: bytes) -> bytes:
        try:
            code, data = wire.parse(inner)
            command = next((one for one in COMMANDS if one == code), None)
            if command is None:
                raise DeviceError(ERROR.INVALID_COMMAND)
            answer = self._carry_out(command, data, COMMANDS[command], session.key)
        except DeviceError as error:
            return wire.error(error.code)
        if command == COMMAND.CLOSE_SESSION and answer == wire.reply(command):
            self._sessions.close(session.number)
        return answer

    def _carry_out(self, command: COMMAND, data: bytes, how: Command, key: StoredObject) -> bytes:
        """Carries a command out, logs it and stores what it changed, in that order. Raises DeviceError, Unplugged."""
        state = self._state
        audited, blocked = state.audits(command) != AUDIT.OFF, self._log_blocked()
        if blocked and (command not in WITH_FULL_LOG or (audited and command == COMMAND.GET_LOG_ENTRIES)):
            raise DeviceError(ERROR.LOG_FULL)
        self._unplug_if("before", command)
        call = Call(state, key, self.serial, self.firmware, data)
        try:
            if how.capability & ~key.capabilities:
                raise DeviceError(ERROR.INSUFFICIENT_PERMISSIONS)
            answer, result = wire.reply(command, how.run(call)), command | 0x80
        except DeviceError as error:
            answer, result = wire.error(error.code), int(error.code)
        if command == COMMAND.RESET_DEVICE and answer == wire.reply(command):
            state.reset()
            self._boot()
        elif audited and self._log_blocked():
            state.log.unlogged_authentications += command == COMMAND.AUTHENTICATE_SESSION
        elif audited:
            state.log.add(command, len(data), key.id, call.target, call.second, result, self._tick())
        self._store()
        self._unplug_if("after", command)
        self._spoil = self.faults.strikes("corrupt", command)
        return answer

    def _store(self) -> None:
        try:
            self._storage.save(self._state)
        except OSError as error:
            self._state = self._storage.load()
            raise DeviceError(ERROR.STORAGE_FAILED) from error

    def _unplug_if(self, when: str, command: COMMAND) -> None:
        if self.faults.strikes("unplug", command, when):
            self.unplug()
            raise Unplugged

    def _log_blocked(self) -> bool:
        return self._state.force_audit != AUDIT.OFF and self._state.log.full

    def _boot(self) -> None:
        self._sessions.clear()
        self._booted = self._clock()
        if self._log_blocked():
            self._state.log.unlogged_boots += 1
        else:
            self._state.log.boot()

    def _replug(self) -> None:
        self.unplug()
        self.plug()

    def _tick(self) -> int:
        """Milliseconds since it booted."""
        return int((self._clock() - self._booted) * 1000) & 0xFFFFFFFF

    def _tell(self) -> None:
        for watcher in self.watchers:
            watcher(self.plugged)
