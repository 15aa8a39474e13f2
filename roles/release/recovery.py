"""What of this role is saved."""

from roles.common import Recovery

RECOVERY = Recovery(
    paths=("/srv/release/public",),
    consistency="files",
    rpo_hours=24,
    checks=("test_an_update_client_gets_its_package", "test_every_zip_has_a_checksum_beside_it"),
)
