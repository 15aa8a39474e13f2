#!/bin/sh
# Mails the admins that a unit failed, with what it said last: for OnFailure=mainstay-failed@%n.service. And what the
# daily look for drift found, which has this started by itself.
what=failed
[ "$1" = mainstay-drift.service ] && ! systemctl is-failed --quiet "$1" && what='has found something'
{
    printf 'To: root\nSubject: %s: %s %s\n\n' "$(hostname)" "$1" "$what"
    if [ "$what" = failed ]; then
        systemctl status --no-pager --full --lines=30 "$1"
    else
        printf 'What to do: mainstay runbook show drift-found\n\n'
        journalctl --quiet --no-pager --output=cat --since=-1min _SYSTEMD_UNIT="$1"
    fi
} | /usr/sbin/sendmail -i -t
