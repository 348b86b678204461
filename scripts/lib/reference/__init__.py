"""The reference on the documentation site: the inventory of the code, the pages made from it, and the check for gaps."""
