"""Comments appear, change and go on every open page. They are drawn by the template that draws them in the page."""

from typing import Any

from django.db.models.signals import post_delete, post_save
from django.dispatch import receiver
from holdfast import Html, Keep, Topic

from logbook.models import Comment, Entry


class Comments(Topic):
    """The comments on one entry."""

    route = "logbook/<int:entry>/comments"
    events = [Html]
    keep = Keep(days=30)

    def may_join(self, user: Any) -> bool:
        return user.is_authenticated and Entry.objects.filter(pk=self.entry).exists()


@receiver(post_save, sender=Comment)
def publish(instance: Comment, created: bool, raw: bool, **kwargs: Any) -> None:
    """Show a comment that was added or changed: in the form's view, in the admin, or in the shell.

    This runs in the transaction of `Comment.save`: the row and the fragments are committed together, or none of them is.
    """
    if raw:
        return  # of a fixture: what the comment refers to may not be there yet
    topic = Comments(entry=instance.entry_id)
    if created:
        topic.publish_html("logbook/_comment.html", {"comment": instance}, target="comments", swap="append")
    else:
        topic.publish_html("logbook/_comment.html", {"comment": instance}, target=f"comment-{instance.pk}")
    publish_count(topic)


@receiver(post_delete, sender=Comment)
def remove(instance: Comment, **kwargs: Any) -> None:
    """In the transaction that Django opens for each deletion."""
    topic = Comments(entry=instance.entry_id)
    topic.remove_html(target=f"comment-{instance.pk}")
    publish_count(topic)


def publish_count(topic: Comments) -> None:
    count = Comment.objects.filter(entry=topic.entry).count()
    topic.publish_html("logbook/_count.html", {"count": count}, target="count")
