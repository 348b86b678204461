#!/usr/bin/env python
"""Harbor's command line: `python manage.py migrate`, `seed`, `runserver`, `test` …"""

import os
import sys

from django.core.management import execute_from_command_line

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "harbor.settings")
    execute_from_command_line(sys.argv)
