from django.contrib import admin

from logbook.models import Comment, Entry

admin.site.register(Entry)


@admin.register(Comment)
class CommentAdmin(admin.ModelAdmin):
    """A comment that is changed or deleted here changes or goes on all open pages."""

    list_display = ["at", "entry", "author", "body"]
    list_select_related = ["entry", "author"]
