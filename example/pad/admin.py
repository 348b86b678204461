from django.contrib import admin

from pad.models import Pad


@admin.register(Pad)
class PadAdmin(admin.ModelAdmin):
    list_display = ["title", "purpose"]
    prepopulated_fields = {"slug": ["title"]}
    filter_horizontal = ["writers"]
