"""What restic is to be told of storage that speaks S3: environment and credentials of a Repository."""


def s3_credentials(access: str, secret: str) -> dict[str, str]:
    """A Repository's credentials for storage that speaks S3."""
    text = f"[default]\naws_access_key_id = {access}\naws_secret_access_key = {secret}\n"
    return {"AWS_SHARED_CREDENTIALS_FILE": text}


def s3_environment(region: str) -> dict[str, str]:
    """A Repository's environment for storage that speaks S3. region: empty where it need not be told."""
    return {"AWS_DEFAULT_REGION": region} if region else {}
