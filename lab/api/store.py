"""What the lab's cloud holds, on disk: one SQLite file of JSON items, safe against a kill at any moment."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import RLock
from typing import Any

Item = dict[str, Any]
"""One resource. Keys are the provider's; those that start with `_` are the lab's own and are never shown."""
MAIN, DRILL = "main", "drill"
"""The accounts: the site's, and the one that restore drills are run under."""
ACCOUNTS = (MAIN, DRILL)


class Store:
    """Items by kind and id, in the order of their creation.

    Reads hand out copies; only `put` changes what is stored. Every change is committed before its call returns, or with
    the outermost `change()` around it.
    """

    def __init__(self, path: Path | str) -> None:
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=10)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS item (seq INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, "
            "id TEXT NOT NULL, body TEXT NOT NULL, UNIQUE (kind, id))"
        )
        self._lock = RLock()
        self._depth = 0

    @contextmanager
    def change(self) -> Iterator[None]:
        """Everything inside happens wholly or not at all, and nothing of other threads between."""
        with self._lock:
            if not self._depth:
                self._db.execute("BEGIN IMMEDIATE")
            self._depth += 1
            try:
                yield
            except BaseException:
                self._depth -= 1
                if not self._depth:
                    self._db.execute("ROLLBACK")
                raise
            self._depth -= 1
            if not self._depth:
                self._db.execute("COMMIT")

    def get(self, kind: str, item_id: str) -> Item | None:
        with self._lock:
            row = self._db.execute("SELECT body FROM item WHERE kind = ? AND id = ?", (kind, item_id)).fetchone()
        return None if row is None else json.loads(row[0])

    def all(self, kind: str) -> list[Item]:
        """Oldest first, each with its place in `_seq`."""
        with self._lock:
            rows = self._db.execute("SELECT seq, body FROM item WHERE kind = ? ORDER BY seq", (kind,)).fetchall()
        return [{**json.loads(body), "_seq": seq} for seq, body in rows]

    def put(self, kind: str, item: Item) -> None:
        """Inserts the item, or replaces the one with its `id`."""
        body = json.dumps({key: value for key, value in item.items() if key != "_seq"})
        with self.change():
            self._db.execute(
                "INSERT INTO item (kind, id, body) VALUES (?, ?, ?) "
                "ON CONFLICT (kind, id) DO UPDATE SET body = excluded.body",
                (kind, item["id"], body),
            )

    def amend(self, kind: str, item_id: str, changes: Item) -> None:
        """Changes an item as it is by now, if it is still there."""
        with self.change():
            item = self.get(kind, item_id)
            if item is not None:
                self.put(kind, item | changes)

    def delete(self, kind: str, item_id: str) -> None:
        with self.change():
            self._db.execute("DELETE FROM item WHERE kind = ? AND id = ?", (kind, item_id))

    def of(self, account: str) -> "Store":
        """What one account sees of it: only its own items, and what is put there is its own."""
        return _Account(self, account)

    def close(self) -> None:
        with self._lock:
            self._db.close()


class _Account(Store):
    """The items of one account: those of another are as if they did not exist."""

    def __init__(self, whole: Store, account: str) -> None:
        self._whole, self._account = whole, account

    @contextmanager
    def change(self) -> Iterator[None]:
        with self._whole.change():
            yield

    def get(self, kind: str, item_id: str) -> Item | None:
        item = self._whole.get(kind, item_id)
        return item if item and account_of(item) == self._account else None

    def all(self, kind: str) -> list[Item]:
        return [item for item in self._whole.all(kind) if account_of(item) == self._account]

    def put(self, kind: str, item: Item) -> None:
        self._whole.put(kind, item | {"_account": self._account})

    def delete(self, kind: str, item_id: str) -> None:
        with self.change():
            if self.get(kind, item_id):
                self._whole.delete(kind, item_id)


def account_of(item: Item) -> str:
    """Whose it is; one that was stored before there were accounts is the main account's."""
    account: str = item.get("_account", MAIN)
    return account


def public(item: Item) -> Item:
    """The item without the lab's own keys."""
    return {key: value for key, value in item.items() if not key.startswith("_")}
