"""The reference on the documentation site: what there is to document, the pages made from it, and what is missing."""
