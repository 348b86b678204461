"""Comments appear, change and go on every open page. They are drawn by the template that draws them in the page."""

from typing import Any

from django.db import transaction
from django.db.models.signals import post_delete, post_save
from django.dispatch import receiver
from holdfast import Html, Keep, Topic

from logbook.models import Comment


class Comments(Topic):
    """The comments on one entry."""

    route = "logbook/<int:entry>/comments"
    events = [Html]
    keep = Keep(days=30)

    def may_join(self, user: Any) -> bool:
        return user.is_authenticated


@receiver(post_save, sender=Comment)
def publish(instance: Comment, created: bool, **kwargs: Any) -> None:
    """Show a comment where it was added or changed: in the form's view, in the admin, or in the shell."""
    topic = Comments(entry=instance.entry_id)
    with transaction.atomic():
        place = {"target": "comments", "swap": "append"} if created else {"target": f"comment-{instance.pk}"}
        topic.publish_html("logbook/_comment.html", {"comment": instance}, **place)
        publish_count(topic)


@receiver(post_delete, sender=Comment)
def remove(instance: Comment, **kwargs: Any) -> None:
    topic = Comments(entry=instance.entry_id)
    with transaction.atomic():
        topic.remove_html(target=f"comment-{instance.pk}")
        publish_count(topic)


def publish_count(topic: Comments) -> None:
    count = Comment.objects.filter(entry=topic.entry).count()
    topic.publish_html("logbook/_count.html", {"count": count}, target="count")
