"""``manage.py holdfast serve | trim | sweep | renew-epochs | topics``: serving, and looking after the log."""

import copy
from argparse import SUPPRESS, ArgumentParser
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, DjangoHelpFormatter
from django.utils import timezone

from holdfast import conf
from holdfast.hub import control, runtime
from holdfast.log.base import LogError
from holdfast.management import serve
from holdfast.topics.registry import registry
from holdfast.topics.topic import Topic


class Command(BaseCommand):
    help = "Serves live topics, and looks after them."

    def add_arguments(self, parser: ArgumentParser) -> None:
        commands = parser.add_subparsers(dest="command", required=True, metavar="command")

        def add(name: str, help: str) -> ArgumentParser:
            added: ArgumentParser = commands.add_parser(name, help=help, formatter_class=DjangoHelpFormatter)
            _take_common_options(parser, added)
            return added

        serve.add_arguments(add("serve", "Serve HTTP and live topics, for production; see --help."))
        trim = add("trim", "Forget what is past each topic's keep, and old answers. Run it hourly or so.")
        trim.add_argument("--dry-run", action="store_true", help="only say how many events would go")
        renew = add(
            "renew-epochs",
            "After restoring a backup of the log while no server ran: let every client start anew.",
        )
        renew.add_argument(
            "--topic",
            action="append",
            metavar="NAME",
            help="only this one, such as rooms/lobby; may be repeated",
        )
        add("sweep", "Finish what processes left that died while publishing. Servers do so too.")
        add("topics", "List the topics of this project.")

    def handle(self, *args: Any, command: str, **options: Any) -> None:
        if command == "serve":
            serve.serve(options, self._say)
        else:
            kept = {"dry_run", "topic"}
            commands: dict[str, Callable[..., None]] = {
                "trim": self.trim,
                "sweep": self.sweep,
                "renew-epochs": self.renew_epochs,
                "topics": self.topics,
            }
            try:
                commands[command](**{name: value for name, value in options.items() if name in kept})
            except LogError as error:
                raise CommandError(str(error)) from error

    def _say(self, text: str) -> None:
        self.stdout.write(text, ending="")
        self.stdout.flush()

    def trim(self, dry_run: bool) -> None:
        log, now = runtime.current().log, timezone.now()
        removed, touched, unknown = 0, 0, []
        for name in log.topics():
            if name == control.TOPIC:
                if not dry_run:
                    log.trim(name, before=now - timedelta(seconds=control.KEPT_SECONDS))
                continue
            topic = registry.by_name(name)
            keep = topic.declared.keep if topic else None
            if keep is None:
                unknown.append(name)
            elif keep.age or keep.count:
                gone = log.trim(name, before=keep.before(now), count=keep.count, dry_run=dry_run)
                removed, touched = removed + gone, touched + bool(gone)
        if dry_run:
            self.stdout.write(
                f"Would remove {removed} events of {touched} topics, and answers that are too old."
            )
        else:
            answers = log.calls.forget(now - timedelta(hours=conf.settings().answers_kept_hours))
            self.stdout.write(f"Removed {removed} events of {touched} topics, and {answers} answers.")
        if unknown:
            self.stdout.write(
                self.style.WARNING(
                    f"Left alone, as no durable topic has such a name any more: {', '.join(unknown[:10])}"
                    f"{f' and {len(unknown) - 10} more' if len(unknown) > 10 else ''}."
                )
            )

    def renew_epochs(self, topic: list[str] | None) -> None:
        log = runtime.current().log
        known = log.topics()
        if unknown := sorted(set(topic or ()) - set(known)):
            raise CommandError(
                f"The log knows no topic {', '.join(map(repr, unknown))}. A topic goes by its name, such as rooms/lobby."
            )
        for name in topic or known:
            log.rotate_epoch(name)
        self.stdout.write(f"Renewed the epochs of {len(topic or known)} topics.")

    def sweep(self) -> None:
        process = runtime.current()
        batches = process.log.sweep()
        process.publisher.spread(batches)
        process.backplane.flush(10)
        self.stdout.write(
            f"Numbered {sum(len(batch.entries) for batch in batches)} events that had been left."
        )

    def topics(self) -> None:
        rows = [("route", "topic", "kept", "who may join")]
        rows += [
            (topic.route, f"{topic.__module__}.{topic.__qualname__}", _kept(topic), _rule(topic))
            for topic in registry.topics()
        ]
        widths = [max(len(row[column]) for row in rows) for column in range(4)]
        for row in rows:
            self.stdout.write(
                "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            )
        if len(rows) == 1:
            self.stdout.write("There are none yet: define Topic subclasses in an installed app's live.py.")


def _take_common_options(parser: ArgumentParser, subparser: ArgumentParser) -> None:
    """Let Django's own options (``--settings``, ``--verbosity`` …) stand behind the subcommand as well as in front of it.

    ``parser`` has them before the command adds its arguments. A subparser's defaults would overwrite what was given in
    front of the subcommand, so there are none.
    """
    for action in parser._actions:
        if action.option_strings and action.dest != "help":
            common = copy.copy(action)
            common.default = SUPPRESS
            subparser._add_action(common)


def _kept(topic: type[Topic]) -> str:
    keep = topic.declared.keep
    if keep is None:
        return "not stored"
    limits = []
    if keep.age:
        limits.append(f"{keep.age / timedelta(days=1):g} days")
    if keep.count:
        limits.append(f"{keep.count} events")
    return " or ".join(limits) or "for ever"


def _rule(topic: type[Topic]) -> str:
    return "nobody: no may_join" if topic.declared.may_join is None else "may_join"
