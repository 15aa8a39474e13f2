"""HTTP in the place of yubihsm-connector 3.0.5, whose answers these are; under /lab/faults the faults of this device.

A GET of /lab/faults tells those in force, a POST makes one (lab/hsm/faults.py), a DELETE ends them all.
"""

import os

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from lab.hsm.device import Device, Unplugged
from lab.hsm.faults import Fault
from lab.hsm.wire import MAX_FRAME

VERSION = "3.0.5"
SIMULATOR = "SIMULATOR, no YubiHSM: its keys lie in a file and protect nothing"
TOLERATED_BYTES = 3
"""What a frame may be too long by: the device itself refuses it then."""


def app(device: Device) -> Starlette:
    async def status(request: Request) -> Response:
        host, port = request.scope["server"] or ("", 0)
        lines = {
            "status": "OK" if device.plugged else "NO_DEVICE",
            "serial": f"{device.serial:010}",
            "version": VERSION,
            "pid": os.getpid(),
            "address": host,
            "port": port,
            "simulator": SIMULATOR,
        }
        return PlainTextResponse("".join(f"{name}={value}\n" for name, value in lines.items()))

    async def api(request: Request) -> Response:
        raw = await request.body()
        if not 3 <= len(raw) <= MAX_FRAME + TOLERATED_BYTES:
            return PlainTextResponse("Bad Request\n", 400)
        try:
            return Response(await run_in_threadpool(device.transceive, raw), media_type="application/octet-stream")
        except Unplugged:
            return PlainTextResponse("Internal Server Error\n", 500)

    async def faults(request: Request) -> Response:
        if request.method == "POST":
            try:
                await run_in_threadpool(device.bring_about, Fault.model_validate_json(await request.body()))
            except ValidationError as error:
                return JSONResponse({"error": str(error)}, 400)
            return Response(status_code=201)
        if request.method == "DELETE":
            await run_in_threadpool(device.undo_faults)
            return Response(status_code=204)
        return JSONResponse([fault.model_dump() for fault in device.faults.all])

    return Starlette(
        routes=[
            Route("/connector/status", status, methods=["GET"]),
            Route("/connector/api", api, methods=["POST"]),
            Route("/lab/faults", faults, methods=["GET", "POST", "DELETE"]),
        ]
    )
