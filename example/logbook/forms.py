from django import forms

from logbook.models import COMMENT_LENGTH, Comment


class CommentForm(forms.ModelForm):  # type: ignore[type-arg]  # it takes none at run time
    class Meta:
        model = Comment
        fields = ["body"]
        labels = {"body": "Your comment"}
        widgets = {"body": forms.Textarea(attrs={"rows": 3, "maxlength": COMMENT_LENGTH})}
