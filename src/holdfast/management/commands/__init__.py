"""One module for each command, under the names by which Django finds them: ``holdfast`` and ``runserver``."""
