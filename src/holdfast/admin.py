"""Read-only admin of the log's tables. Only the log itself may write them."""

from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest

from .models import CallRecord, LogTopic, Outbox


class ReadOnly(admin.ModelAdmin):  # type: ignore[type-arg]  # it takes none at run time
    """An admin without the permission to add, change or delete."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


@admin.register(LogTopic)
class LogTopicAdmin(ReadOnly):
    list_display = ("name", "head", "epoch", "created_at")
    search_fields = ("name",)


@admin.register(Outbox)
class OutboxAdmin(ReadOnly):
    """Events that wait for their offsets. The table is empty except for moments."""

    list_display = ("topic", "name", "created_at")
    search_fields = ("topic",)


@admin.register(CallRecord)
class CallRecordAdmin(ReadOnly):
    list_display = ("owner", "key", "target", "failed", "created_at", "expires_at")
    list_filter = ("failed",)
    search_fields = ("owner", "key")
