"""Harbor, the reference project of Holdfast."""
