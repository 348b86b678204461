"""The small project that the files of `deploy/` are tried with, under the names that they have in it."""

import os
import sys

from django.core.management import execute_from_command_line

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")

if __name__ == "__main__":
    execute_from_command_line(sys.argv)
