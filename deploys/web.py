"""The web servers."""

from roles.web.deploy import web

web()
