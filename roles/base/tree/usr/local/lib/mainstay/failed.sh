#!/bin/sh
# Mails the admins that a unit failed, with what it said last: for OnFailure=mainstay-failed@%n.service.
{
    printf 'To: root\nSubject: %s: %s failed\n\n' "$(hostname)" "$1"
    systemctl status --no-pager --full --lines=30 "$1"
} | /usr/sbin/sendmail -i -t
