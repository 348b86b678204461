"""Publishes at a steady rate to all rooms by turns, until its standard input ends; then prints how many went where.

python -m bench.rolling.publisher --rate 120 --rooms 30
"""

import argparse
import json
import os
import sys
import threading
import time

import django


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rate", type=float, required=True, help="events a second")
    parser.add_argument("--rooms", type=int, required=True)
    options = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bench.rolling.settings")
    django.setup()
    from bench.chat.live import Kept, Said

    rooms = [Kept(room=f"r{number}") for number in range(options.rooms)]
    counts = [0] * len(rooms)
    told_to_end = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), told_to_end.set()), daemon=True).start()
    began, latest, number = time.monotonic(), 0.0, 0
    while not told_to_end.is_set():
        due = began + number / options.rate
        time.sleep(max(0.0, due - time.monotonic()))
        latest = max(latest, time.monotonic() - due)
        place = number % len(rooms)
        rooms[place].publish(Said(str(time.time())))
        counts[place] += 1
        number += 1
    print(json.dumps({"counts": counts, "seconds": time.monotonic() - began, "latest": latest}))


if __name__ == "__main__":
    main()
