"""What of this role is saved: releases, which never change once they are published, and their metadata."""

from backup.recovery import Recovery

RECOVERY = Recovery(
    root="/srv/release",
    paths=("public",),
    consistency="files",
    every="hourly",
    rpo_hours=6,
    checks=("test_a_download_resumes_anywhere", "test_checksums_are_plain_text_in_the_normal_form"),
)
