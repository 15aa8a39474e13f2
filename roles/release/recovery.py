"""What of this role is saved."""

from roles.common import Recovery

RECOVERY = Recovery(
    paths=("/srv/release/public",),
    consistency="files",
    rpo_hours=24,
    checks=("test_a_download_resumes_anywhere", "test_checksums_are_plain_text_in_the_normal_form"),
)
