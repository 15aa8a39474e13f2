"""Groups, projects and rights as code: what is declared is compared with a Gerrit, shown in words, and written to it.

A project's whole configuration is one commit of its refs/meta/config: it is read by that commit's id, kept by it on the
admin's machine, and written as one commit on top of the one that was read. So a project is as it was or as declared,
whenever a run ends, and of two that write at once one is told by Gerrit that it came second.
"""
