from roles.gerrit.tools.sources.audit import Verdict


def as_json(verdict, at, now):
    return {
        "time": now.isoformat(),
        "clean": not verdict.wrong,
        "exit_code": verdict.exit_code,
        "seconds": round(verdict.seconds, 3),
        "projects": verdict.projects,
        "projects_of_manifest": verdict.of,
        "repositories": verdict.repositories,
        "lfs_pointers": verdict.pointers,
        "repositories_read": verdict.read,
        "findings": [one.as_json() for one in verdict.findings],
    }
