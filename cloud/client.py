"""The provider's API (Vultr v2) as provisioning needs it: vultr-python with paging, retries, a rate limit and patience.

Facts of the API relied on here: 429 comes with Retry-After and means that nothing was done; an answer with a non-empty
`error` is an error whatever its status; a PATCH that changes nothing is answered 400 'Nothing to change'; lists go on
at `meta.links.next`, given back as `cursor`, with per_page at most 500.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests
from pyinfra.api.exceptions import PyinfraError
from requests.adapters import HTTPAdapter
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_before_delay, wait_random_exponential
from vultr import Vultr

Item = dict[str, Any]
Report = Callable[[str], None]

PER_PAGE = 500
CONNECT_S, READ_S = 5, 30
GIVE_UP_AFTER_S = 240
NEVER_ANSWERED_S = 20
"""When to give up an address that has not answered at all: it is wrong more likely than busy."""
TELL_S = 5
"""A first failure is told only when this much time will pass before the next attempt."""
SETTLE_S = 5
"""How long a creation whose answer was lost may take to show up before it is tried again."""
PARALLEL = 10
"""Things worked on at once; requests are limited apart from that."""


UNSENDABLE = (
    requests.exceptions.InvalidHeader,
    requests.exceptions.InvalidURL,
    requests.exceptions.InvalidSchema,
    requests.exceptions.MissingSchema,
)
"""What requests raises before it sends anything. The first quotes the header, which holds the key."""


class CloudError(PyinfraError):
    """The provider refused a request or could not be reached; carries its own words.

    status is 0 when there was no answer; unsent when there never can be one. pyinfra prints the message without a
    traceback.
    """

    def __init__(self, request: str, status: int, text: str, retry_after_s: float = 0, *, unsent: bool = False) -> None:
        self.request, self.status, self.text, self.retry_after_s = request, status, text, retry_after_s
        self.unsent = unsent
        super().__init__(f"{request}: {f'{status} {text}' if status else text}")

    @property
    def passing(self) -> bool:
        """Whether the same request may succeed later."""
        return not self.unsent and (self.status in (0, 429) or self.status >= 500)

    @property
    def doubtful(self) -> bool:
        """Whether the request may have been carried out although it failed."""
        return not self.unsent and (self.status == 0 or self.status >= 500)


class Client(Vultr):
    """One account. Usable from several threads; all share the rate limit and a 429's pause."""

    def __init__(
        self,
        api_url: str,
        api_key: str,
        *,
        requests_per_second: int = 20,
        report: Report = print,
        authority: Path | None = None,
    ) -> None:
        """authority: a PEM file of the certificates to trust, in the place of the machine's."""
        super().__init__(api_key)
        self.url = api_url.rstrip("/")
        self._verify = str(authority) if authority else True
        self.report = report
        self._session.mount("http", HTTPAdapter(pool_maxsize=PARALLEL))
        self._slots_taken = deque([-1.0] * requests_per_second, maxlen=requests_per_second)
        self._not_before = 0.0
        self._answered = False
        self._slots = threading.Lock()

    def list(self, path: str, key: str, **query: str) -> list[Item]:
        """All items of a list, from all its pages."""
        found: list[Item] = []
        cursor = ""
        while True:
            page = self.get(path, {**query, "per_page": PER_PAGE, **({"cursor": cursor} if cursor else {})})
            found += page[key]
            cursor = page.get("meta", {}).get("links", {}).get("next", "")
            if not cursor:
                return found

    def create(
        self,
        path: str,
        key: str,
        body: Item,
        find: Callable[[], Item | None],
    ) -> Item:
        """POSTs a new thing and returns it, or the one that `find` finds by its tag, label or description.

        Whenever an earlier attempt may have been carried out, the thing is looked for (for SETTLE_S) before anything is
        sent again.
        """
        doubtful = False
        for attempt in self._attempts():
            with attempt:
                found = self.settle(find) if doubtful else None
                if found is not None:
                    return found
                try:
                    created: Item = self._once("post", f"{self.url}{path}", body)[key]
                except CloudError as error:
                    doubtful = doubtful or error.doubtful
                    raise
                return created
        raise AssertionError("tenacity re-raises the last error")

    def ensure(self, path: str, body: Item, done: Callable[[], bool]) -> None:
        """POSTs what changes a thing in place (attach, a rule); repeats it only while `done` says that it is not so."""
        repeated = False
        for attempt in self._attempts():
            with attempt:
                if repeated and done():
                    return
                repeated = True
                self._once("post", f"{self.url}{path}", body)

    def change(self, path: str, **body: Any) -> None:
        """PATCHes; what is so already is no error."""
        try:
            self.patch(path, **body)
        except CloudError as error:
            if error.status != 400 or "nothing to change" not in error.text.lower():
                raise

    def remove(self, path: str) -> None:
        """DELETEs; what is gone already is no error.

        A 404 may be of what the thing hangs on, such as a volume's host on its way out: it is tried again while the
        thing can still be looked at.
        """
        for attempt in self._attempts(lambda error: error.passing or error.status == 404):
            with attempt:
                try:
                    self._once("delete", f"{self.url}{path}")
                except CloudError as error:
                    if error.status != 404 or self._is_there(path):
                        raise

    def _is_there(self, path: str) -> bool:
        try:
            self.get(path)
        except CloudError as error:
            if error.status != 404:
                raise
            return False
        return True

    def wait(
        self, what: str, look: Callable[[], Item], ready: Callable[[Item], str], *, timeout_s: float = 300
    ) -> Item:
        """Looks until `ready` answers "" instead of what it still waits for; reports that as it changes.

        Raises CloudError with the last state after timeout_s.
        """
        begun, pause, shown = time.monotonic(), 0.25, ""
        while True:
            item = look()
            state = ready(item)
            waited = time.monotonic() - begun
            if not state:
                return item
            if waited > timeout_s:
                raise CloudError(what, 0, f"still {state} after {waited:.0f} s")
            if state != shown or pause >= 5:
                self.report(f"{what}: {state} ({waited:.0f} s)")
                shown = state
            time.sleep(pause)
            pause = min(pause * 1.5, 5)

    def settle(self, find: Callable[[], Item | None]) -> Item | None:
        """Looks for SETTLE_S for what may have been created although nobody was told."""
        until = time.monotonic() + SETTLE_S
        while (found := find()) is None and time.monotonic() < until:
            time.sleep(0.5)
        return found

    def _req(self, method: str, url: str, data: Any = None, params: Item | None = None) -> Any:
        """Every call of vultr-python passes here. POSTs are repeated after a 429 only: see `create` and `ensure`."""
        repeatable = (lambda e: e.status == 429) if method == "post" else (lambda e: e.passing)
        for attempt in self._attempts(repeatable):
            with attempt:
                return self._once(method, url, data, params)
        raise AssertionError("tenacity re-raises the last error")

    def _attempts(self, repeatable: Callable[[CloudError], bool] = lambda e: e.passing) -> Retrying:
        return Retrying(
            retry=retry_if_exception(lambda error: isinstance(error, CloudError) and repeatable(error)),
            wait=_pause,
            stop=self._enough,
            before_sleep=self._say,
            reraise=True,
        )

    def _enough(self, state: RetryCallState) -> bool:
        return stop_before_delay(GIVE_UP_AFTER_S if self._answered else NEVER_ANSWERED_S)(state)

    def _say(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        if state.attempt_number > 1 or state.upcoming_sleep >= TELL_S:
            self.report(f"{error}; attempt {state.attempt_number + 1} in {state.upcoming_sleep:.1f} s")

    def _once(self, method: str, url: str, data: Any = None, params: Item | None = None) -> Any:
        request = f"{method.upper()} {url.removeprefix(self.url)}"
        self._wait_for_slot()
        try:
            answer = self._session.request(
                method, url, params=params, json=data, timeout=(CONNECT_S, READ_S), verify=self._verify
            )
            self._answered = True
            body: Any = answer.json() if answer.content else None
        except requests.JSONDecodeError:
            body = {"error": answer.text[:500] or answer.reason}
        except UNSENDABLE as error:
            text = f"cannot be sent to {self.url}: {type(error).__name__}"
            raise CloudError(request, 0, text, unsent=True) from None
        except (requests.RequestException, OSError) as error:
            raise CloudError(request, 0, f"no answer from {self.url}: {_first_cause(error)}") from error
        text = str(body.get("error") or "") if isinstance(body, dict) else ""
        if answer.ok and not text:
            return body
        status = answer.status_code if not answer.ok else int(body.get("status") or 500)
        wait_s = self._retry_after(answer)
        asks = f"; asks to wait {wait_s:.0f} s" if wait_s else ""
        raise CloudError(request, status, f"{text or answer.reason}{asks}", wait_s)

    def _wait_for_slot(self) -> None:
        """Any second sees at most requests_per_second."""
        with self._slots:
            slot = max(self._not_before, time.monotonic(), self._slots_taken[0] + 1)
            self._slots_taken.append(slot)
        time.sleep(max(0.0, slot - time.monotonic()))

    def _retry_after(self, answer: requests.Response) -> float:
        """Seconds that the provider asks to wait; everyone waits them, unless they are more than anyone waits."""
        value = answer.headers.get("Retry-After", "")
        seconds = float(value) if value.isdigit() else 0.0
        if seconds < GIVE_UP_AFTER_S:
            with self._slots:
                self._not_before = max(self._not_before, time.monotonic() + seconds)
        return seconds


def _first_cause(error: BaseException) -> BaseException:
    """`Connection refused` itself, without what requests and urllib3 wrap around it."""
    while error.__context__:
        error = error.__context__
    return error


_full_jitter = wait_random_exponential(multiplier=0.25, max=15)


def _pause(state: RetryCallState) -> float:
    """Full jitter, on top of what the provider asked for."""
    error = state.outcome.exception() if state.outcome else None
    asked_s = error.retry_after_s if isinstance(error, CloudError) else 0.0
    return asked_s + _full_jitter(state)
