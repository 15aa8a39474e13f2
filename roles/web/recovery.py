"""What of this role is saved: the website's files."""

from backup.recovery import Recovery

RECOVERY = Recovery(
    root="/srv/web",
    paths=("public",),
    consistency="files",
    every="hourly",
    rpo_hours=24,
    checks=("test_the_front_page_is_a_page_for_a_few_minutes", "test_phones_get_their_message_as_plain_text"),
)
