"""Makes pyinfra's ordering of operations cheap, and tells files apart; imported by config.py for its effect.

pyinfra orders operations by the line numbers of the call stack and gets them from inspect.stack(), which looks for the
source of every frame among all loaded modules: some 10 ms for each operation on each host, before anything is sent. The
frames themselves hold the same numbers. And it takes operations with the same line numbers for the same operation,
whatever their files: those of two roles would run and be reported under the name of one.
"""

import sys
from importlib import import_module

import pyinfra
from pyinfra.api.state import State
from pyinfra.api.util import PYINFRA_INSTALL_DIR

_files: dict[str, int] = {}


def from_frames(state: State) -> list[int]:
    """The list of pyinfra.api.util.get_operation_order_from_stack, with its file's number before each line's.

    Files are numbered as they come up first, so operations stay in the order in which the deploys call them.
    """
    places = []
    frame = sys._getframe(1)
    while frame:
        places.append((frame.f_code.co_filename, frame.f_lineno))
        frame = frame.f_back  # type: ignore[assignment]
    places.reverse()
    files = [file for file, _ in places]
    deploy = state.current_deploy_filename
    start = 0 if not deploy else files.index(deploy) if deploy in files else len(files)
    numbers = [state.current_op_file_number] if pyinfra.is_cli else []
    for file, number in places[start:]:
        if not file.startswith(PYINFRA_INSTALL_DIR):
            numbers += [_files.setdefault(file, len(_files)), number]
    return numbers


# pyinfra.api has a function of the same name as this module.
vars(import_module("pyinfra.api.operation"))["get_operation_order_from_stack"] = from_frames
