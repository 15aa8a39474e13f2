"""A few calls of S3, signed as AWS documents it (Signature Version 4), for what restic does not do: buckets, policies,
versions."""

import hashlib
import hmac
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote, urlencode, urlsplit

import requests

REGION = "us-east-1"


@dataclass(frozen=True)
class S3:
    """Storage at an https endpoint, by one key."""

    endpoint: str
    access: str
    secret: str = field(repr=False)
    ca: Path

    def ask(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """A call, whatever it answers. path: /BUCKET/KEY; headers: names in lower case."""
        now = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        target, asked = quote(path), urlencode(sorted((query or {}).items()), quote_via=quote)
        signed = {
            **(headers or {}),
            "host": urlsplit(self.endpoint).netloc,
            "x-amz-content-sha256": hashlib.sha256(body).hexdigest(),
            "x-amz-date": now,
        }
        if body:
            signed["content-md5"] = b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
        names = ";".join(sorted(signed))
        lines = [f"{name}:{signed[name]}" for name in sorted(signed)]
        request = "\n".join([method, target, asked, *lines, "", names, signed["x-amz-content-sha256"]])
        scope = f"{now[:8]}/{REGION}/s3/aws4_request"
        digest = hashlib.sha256(request.encode()).hexdigest()
        key = f"AWS4{self.secret}".encode()
        for part in (*scope.split("/"), f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{digest}"):
            key = hmac.digest(key, part.encode(), "sha256")
        signed["authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={self.access}/{scope}, SignedHeaders={names}, Signature={key.hex()}"
        )
        url = f"{self.endpoint}{target}{'?' if asked else ''}{asked}"
        return requests.request(method, url, data=body, headers=signed, verify=str(self.ca), timeout=30)
