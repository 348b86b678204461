"""``manage.py holdfast serve | trim | sweep | renew-epochs | topics | schema``: serve, maintain the log, and describe the topics."""

import copy
from argparse import SUPPRESS, ArgumentParser
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, DjangoHelpFormatter
from django.utils import timezone

from holdfast import conf, runtime
from holdfast.control import commands, control
from holdfast.log.base import LogError
from holdfast.management import schema, serve
from holdfast.topics.owner import ANONYMOUS
from holdfast.topics.registry import registry
from holdfast.topics.topic import Topic


class Command(BaseCommand):
    help = "Serves live topics and maintains their log."

    def add_arguments(self, parser: ArgumentParser) -> None:
        commands = parser.add_subparsers(dest="command", required=True, metavar="command")

        def add(name: str, help: str) -> ArgumentParser:
            added: ArgumentParser = commands.add_parser(name, help=help, formatter_class=DjangoHelpFormatter)
            _take_common_options(parser, added)
            return added

        serve.add_arguments(add("serve", "Serve HTTP and live topics, for production; see --help."))
        trim = add(
            "trim", "Delete events past each topic's keep, and old results of calls. Run it every hour or so."
        )
        trim.add_argument("--dry-run", action="store_true", help="only print how many events it would delete")
        renew = add(
            "renew-epochs",
            "After restoring a backup of the log while no server ran: make every client start over.",
        )
        renew.add_argument(
            "--topic",
            action="append",
            metavar="NAME",
            help="only this topic, such as rooms/lobby; may be repeated",
        )
        add("sweep", "Deliver events of processes that died while publishing. Servers do this too.")
        add("topics", "List the topics of this project.")
        schema.add_arguments(
            add("schema", "Print the topics' events and actions as AsyncAPI, or as types of TypeScript.")
        )

    def handle(self, *args: Any, command: str, **options: Any) -> None:
        if command == "serve":
            serve.serve(options, self._say)
        elif command == "schema":
            self._say(schema.run(options))
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
            if name == commands.TOPIC:
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
                f"Would delete {removed} events of {touched} topics, and results of calls that are too old."
            )
        else:
            chosen = conf.settings()
            answers = log.calls.forget(now - timedelta(hours=chosen.idempotency_hours))
            anonymous = now - timedelta(minutes=chosen.anonymous_idempotency_minutes)
            answers += log.calls.forget(anonymous, owners=ANONYMOUS)
            self.stdout.write(
                f"Deleted {removed} events of {touched} topics, and {answers} results of calls."
            )
        if unknown:
            self.stdout.write(
                self.style.WARNING(
                    f"Not trimmed, because no durable topic has such a name: {', '.join(unknown[:10])}"
                    f"{f' and {len(unknown) - 10} more' if len(unknown) > 10 else ''}."
                )
            )

    def renew_epochs(self, topic: list[str] | None) -> None:
        log = runtime.current().log
        known = log.topics()
        if unknown := sorted(set(topic or ()) - set(known)):
            raise CommandError(
                f"The log has no topic {', '.join(map(repr, unknown))}. Give the name of a topic, such as rooms/lobby."
            )
        for name in topic or known:
            log.rotate_epoch(name)
        if not topic:
            log.renew_first_epochs()
        self.stdout.write(f"Renewed the epochs of {len(topic or known)} topics.")

    def sweep(self) -> None:
        process = runtime.current()
        batches = process.log.sweep()
        process.publisher.broadcast(batches)
        process.backplane.flush(10)
        self.stdout.write(
            f"Delivered {sum(len(batch.entries) for batch in batches)} events that had been left over."
        )

    def topics(self) -> None:
        rows = [("route", "topic", "stored", "may join")]
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
            self.stdout.write(
                "There are no topics yet: define Topic subclasses in the live.py of an installed app."
            )


def _take_common_options(parser: ArgumentParser, subparser: ArgumentParser) -> None:
    """Accept Django's options (``--settings``, ``--verbosity`` …) behind the subcommand as well as in front of it.

    ``parser`` has them before the command adds its arguments. The copies have no defaults, because those would overwrite
    options that were given in front of the subcommand.
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
        limits.append(_counted(keep.age / timedelta(days=1), "day"))
    if keep.count:
        limits.append(_counted(keep.count, "event"))
    return " or ".join(limits) or "without limit"


def _counted(number: float, noun: str) -> str:
    return f"1 {noun}" if number == 1 else f"{number:.10g} {noun}s"


def _rule(topic: type[Topic]) -> str:
    declared = topic.declared
    rules = [*declared.requires, *(["may_join"] if declared.may_join is not None else [])]
    return " and ".join(rules) or "no user: there is no may_join and no requires"
