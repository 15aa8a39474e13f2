"""Something of each kind for a Gerrit to hold: projects, a person, changes, a large file (LFS)."""

from tests.gerrit_site import HOST
from tests.saved_site import Saved

LARGE = "what a large file holds\n"
FILL = r"""
token=$(cat /etc/gerrit/token)
at=http://127.0.0.1:8081/a
ask() {
    curl -sSf -o /dev/null -u "mainstay:$token" -X "$1" -H 'Content-Type: application/json' -d "$3" "$at/$2"
}
ask PUT accounts/alice '{"name": "Alice", "email": "alice@example.org"}'
ask PUT groups/developers '{"members": ["alice"]}'
for name in tools/one two; do
    ask PUT "projects/$(echo $name | sed s,/,%2F,)" '{"create_empty_commit": true, "branches": ["main"]}'
done
rules='{"Administrators": {"action": "ALLOW"}}'
ask POST projects/tools%2Fone/access '{"add": {"refs/heads/*": {"permissions": {"push": {"rules": '"$rules"'}}}}}'
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
git clone -q "http://mainstay:$token@127.0.0.1:8081/a/tools/one" -b main "$work/one" 2>&1
cd "$work/one"
git config user.name Mainstay
git config user.email "$(curl -sSf -u "mainstay:$token" $at/accounts/self/detail | grep -o '[^"]*@[^"]*' | head -n 1)"
printf 'LARGE' >"$work/large"
id=$(sha256sum "$work/large" | cut -c-64)
store=/srv/gerrit/site/data/lfs/$(echo "$id" | cut -c-2)/$(echo "$id" | cut -c3-4)
install -d -o gerrit -g gerrit -m 0750 /srv/gerrit/site/data/lfs "$(dirname "$store")" "$store"
install -o gerrit -g gerrit -m 0640 "$work/large" "$store/$id"
echo '*.bin filter=lfs diff=lfs merge=lfs -text' >.gitattributes
size=$(stat -c %s "$work/large")
printf 'version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize %s\n' "$id" "$size" >one.bin
git add .
git -c filter.lfs.required=false commit -qm 'A large file'
git push -q origin HEAD:refs/heads/main
for number in 1 2 3; do
    echo "$number" >"$number.txt"
    git add "$number.txt"
    git commit -qm "Number $number

Change-Id: I$(echo "$number" | sha1sum | cut -c-40)"
done
git push -q origin HEAD:refs/for/main
newest="tools%2Fone~main~I$(echo 3 | sha1sum | cut -c-40)"
ask POST "changes/$newest/revisions/current/review" '{"message": "Looks good"}'
"""


def fill(gerrit: Saved) -> None:
    """Of a Gerrit that has nothing yet."""
    gerrit.root(HOST, FILL.replace("LARGE", LARGE.replace("\n", "\\n")))
