"""A look at the log. Nothing can be changed: only the log itself may write its tables."""

from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest

from .models import Call, Outbox, Topic


class ReadOnly(admin.ModelAdmin):  # type: ignore[type-arg]  # it takes none at run time
    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


@admin.register(Topic)
class TopicAdmin(ReadOnly):
    list_display = ("name", "head", "epoch", "created_at")
    search_fields = ("name",)


@admin.register(Outbox)
class OutboxAdmin(ReadOnly):
    """Should be empty but for an instant."""

    list_display = ("topic", "name", "created_at")
    search_fields = ("topic",)


@admin.register(Call)
class CallAdmin(ReadOnly):
    list_display = ("owner", "key", "target", "failed", "created_at", "expires_at")
    list_filter = ("failed",)
    search_fields = ("owner", "key")
