"""Objects of any type: finding and deleting them; and those that are only data."""

from yubihsm.defs import ALGORITHM, CAPABILITY, COMMAND, ERROR, LIST_FILTER, OBJECT, ORIGIN

from lab.hsm.commands.call import Call, Command, nothing_after
from lab.hsm.objects import DELETED_BY, LABEL_LENGTH, StoredObject
from lab.hsm.wire import DeviceError, head

FILTERS = {
    LIST_FILTER.ID: "H",
    LIST_FILTER.TYPE: "B",
    LIST_FILTER.DOMAINS: "H",
    LIST_FILTER.CAPABILITIES: "Q",
    LIST_FILTER.ALGORITHM: "B",
    LIST_FILTER.LABEL: f"{LABEL_LENGTH}s",
}
"""The form of each one's value."""


def _list(call: Call) -> bytes:
    """Those in the session's domains that all filters let through, by type and id."""
    found, rest = [one for one in call.state.objects if one.domains & call.key.domains], call.data
    while rest:
        kind, value = rest[0], rest[1:]
        if kind not in FILTERS:
            raise DeviceError(ERROR.INVALID_DATA)
        wanted, rest = head(FILTERS[LIST_FILTER(kind)], value)
        found = [one for one in found if _passes(one, kind, wanted)]
    found.sort(key=lambda one: (one.type, one.id))
    return b"".join(one.id.to_bytes(2, "big") + bytes([one.type, one.sequence]) for one in found)


def _passes(one: StoredObject, kind: int, wanted: int | bytes) -> bool:
    match kind, wanted:
        case LIST_FILTER.DOMAINS, int():
            return bool(one.domains & wanted)
        case LIST_FILTER.CAPABILITIES, int():
            return bool(one.capabilities & wanted)
    return wanted == {
        LIST_FILTER.ID: one.id,
        LIST_FILTER.TYPE: one.type,
        LIST_FILTER.ALGORITHM: one.algorithm,
        LIST_FILTER.LABEL: one.label,
    }.get(LIST_FILTER(kind))


def _info(call: Call) -> bytes:
    call.target, kind = call.fields("HB")
    return call.find(kind, call.target).info()


def _delete(call: Call) -> bytes:
    call.target, kind = call.fields("HB")
    found = call.find(kind, call.target)
    if DELETED_BY[found.type] & ~call.key.capabilities:
        raise DeviceError(ERROR.INSUFFICIENT_PERMISSIONS)
    call.state.objects.remove(found)
    return b""


def _put_opaque(call: Call) -> bytes:
    return call.add(OBJECT.OPAQUE, ORIGIN.IMPORTED, _data)


def _data(algorithm: ALGORITHM, data: bytes) -> bytes:
    if not data:
        raise DeviceError(ERROR.WRONG_LENGTH)
    return data


def _get_opaque(call: Call) -> bytes:
    """Id 0 is the certificate with which the device vouches for itself."""
    call.target, rest = call.head("H")
    nothing_after(rest)
    return call.find(OBJECT.OPAQUE, call.target).payload if call.target else call.state.certificate


COMMANDS = {
    COMMAND.LIST_OBJECTS: Command(CAPABILITY.NONE, _list),
    COMMAND.GET_OBJECT_INFO: Command(CAPABILITY.NONE, _info),
    COMMAND.DELETE_OBJECT: Command(CAPABILITY.NONE, _delete),
    COMMAND.PUT_OPAQUE: Command(CAPABILITY.PUT_OPAQUE, _put_opaque),
    COMMAND.GET_OPAQUE: Command(CAPABILITY.GET_OPAQUE, _get_opaque),
}
