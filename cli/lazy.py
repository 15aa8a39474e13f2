"""Commands whose modules are read when they are called: who asks for one does not wait until all others are loaded."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup


class Group(TyperGroup):
    """Lists its commands with the whole first paragraph of each, which click cuts off."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        for name in self.list_commands(ctx):
            command = self.get_command(ctx, name)
            if command and command.help:
                command.short_help = command.help.partition("\n\n")[0]
        super().format_commands(ctx, formatter)


def application(cls: type[TyperGroup] = Group, **options: Any) -> typer.Typer:
    """A group of commands, as all of `mainstay` are."""
    return typer.Typer(cls=cls, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, **options)


def groups(packages: Mapping[str, str]) -> type[TyperGroup]:
    """Of an application whose groups are declared by name and help alone, and are the `app` of these modules."""

    class Groups(Group):
        def resolve_command(self, ctx: Any, args: list[str]) -> Any:
            if args and args[0] in packages:
                group = typer.main.get_command(import_module(packages[args[0]]).app)
                group.help = self.commands[args[0]].help
                self.commands[args[0]] = group
            return super().resolve_command(ctx, args)

    return Groups


def commands(package: str, modules: Mapping[str, str], epilog: str) -> typer.Typer:
    """An application to which these modules add their commands, in this order.

    package: where they are; modules: by the name of a command.
    """

    class Commands(Group):
        def list_commands(self, ctx: Any) -> list[str]:
            return list(modules)

        def get_command(self, ctx: Any, cmd_name: str) -> Any:
            """A name that is none has all of them read, so that the like of it can be suggested."""
            if cmd_name not in self.commands:
                for module in {modules[cmd_name]} if cmd_name in modules else set(modules.values()):
                    import_module(f"{package}.{module}")
                group = typer.main.get_command(app)
                assert isinstance(group, TyperGroup)
                self.commands = {**group.commands, **self.commands}
            return self.commands.get(cmd_name)

    app = application(Commands, epilog=epilog)
    app.callback()(lambda: None)  # one command is a group too
    return app
