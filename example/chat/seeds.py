"""Contents of the chat at the start of the demo: two rooms with their messages so far."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from chat.models import Membership, Message, Room

PAUSE = timedelta(seconds=70)
"""Between two messages of one conversation."""

UNREAD = 2
"""Messages of each room that its members have not read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedRoom:
    """`story` has a line for each message, `author: body`; `~3h` alone is a pause of that length."""

    slug: str
    name: str
    purpose: str
    members: list[str]
    story: str


LOBBY = """
ada: Morning. First one at the quay, apparently.
linus: Second. I was only waiting for the kettle.
ada: The new pontoon lights are in. They come on by themselves at dusk, in theory.
linus: In theory.
ada: We'll see tonight. The electrician sounded confident.
grace: Confident like last time?
ada: Quieter than last time. I took it as a good sign.
grace: Good morning to you two as well.
~3h
grace: The tide gauge by the lock is reading 40 cm too high again.
linus: All the time or only at low water?
grace: Only at low water. At high water it agrees with the staff to the centimetre.
linus: Then it's weed in the stilling well. It floats the float.
grace: You say that as if it happened every year.
linus: Every October and every March. I'll take the hook and clear it after lunch.
grace: Thank you!
~2h
linus: Cleared. Half a bucket of kelp, and one very annoyed crab.
grace: Gauge agrees with the staff now. 1.86 on both.
ada: And the crab?
linus: Released on its own recognizance.
~5h
ada: Pontoon lights: on at 17:42, all but number eleven.
grace: Eleven out of how many?
ada: Twenty-four.
linus: That is a better result than the theory promised.
~14h
grace: The ferry is asking whether berth 3 is free on Thursday, 06:30 to 09:00.
ada: The survey boat has it until Friday.
grace: Could the survey boat lie at 5 for a night?
ada: She draws 3.2 m. At 5 there is 2.9 at springs.
grace: Thursday is neaps.
ada: Then yes. You have done this before.
grace: Once or twice. I'll ask their skipper and write it up on the board.
linus: If they move, somebody please tell me before and not after. The shore power at 5 needs the long cable.
grace: You'll be the first to know.
~1h
grace: They'll move on Wednesday at 16:00. Linus, long cable please.
linus: Noted, with thanks for the *before*.
~4h
linus: Found why number eleven is dark, by the way.
ada: Do tell.
linus: It's not connected to anything. There is a lamp, and there is a cable, and they have never met.
grace: That's the saddest thing I've read today.
linus: I introduced them. Number eleven is lit.
ada: Twenty-four out of twenty-four. I'll send the electrician a photo.
~15h
ada: Forecast for tonight: south-west 7, gusting 9 after midnight, veering north-west by morning.
ada: I'd like doubled lines on everything along the outer wall, and the visitors moved inside.
grace: I'll phone the visitors. Four boats, one of them does not pick up, as ever.
linus: I'll do the outer wall. Who has the big fenders?
ada: Behind the fuel shed, under the tarpaulin that says “not fenders”.
linus: Of course they are.
grace: Three of four reached. They come in with the flood at 15:00.
ada: The fourth is the blue ketch?
grace: The blue ketch.
linus: I can see him from here. He is asleep in his cockpit. I'll wave.
grace: Please wave loudly.
~2h
linus: All four inside, lines doubled, fenders out. The blue ketch sends his regards and half a cake.
ada: What kind of cake?
linus: That's the spirit of command.
linus: Lemon.
ada: I'm coming down.
~8h
ada: Gusting 8 at the breakwater. Nothing has moved that should not.
grace: Rain gauge says 11 mm in the last hour. The pump in the dry dock runs.
ada: Thank you both for staying near. I'll keep the watch until four, then it's yours, Grace.
grace: Good. I'll have the radio beside the bed anyway.
~6h
grace: Watch taken. Wind has veered to the north-west and is easing, sea still heavy outside.
grace: One fender lost from the outer wall. I can see it in the corner of the basin, looking smug.
linus: I'll fetch it with the dinghy when it's light.
grace: No hurry. It isn't going anywhere, the wind is holding it.
~3h
linus: Fender back. Lines are fine, one chafed at the third bollard, I've turned it end for end.
ada: Damage?
linus: A bin lid, a flower pot, and our trust in the flag halyard.
ada: We can live with that. Well done, all.
grace: The ferry thanks us for berth 3 and says it was the calmest place on the whole coast.
linus: They have not met number eleven.
~20h
ada: Reminder: Saturday is open harbour. We'll have about two hundred visitors from ten o'clock.
grace: I have the lifejackets for children, sizes from very small to nearly grown.
linus: I'll tie knots with anybody who wants to. Last year I taught forty bowlines and learned one new one.
ada: From whom?
linus: A girl of eight. Her grandmother fished off the Faroes. It's better than mine, too.
grace: Will you show us?
linus: If you bring the rope.
ada: I'll bring rope. And please write here when you need a hand, the radio will be busy.
"""

CAPTAINS = """
ada: Only the two of us in here. The budget for dredging came back.
grace: And?
ada: Approved, all of it. From the turning basin to the lock.
grace: I'll need a minute. We asked for half and hoped for a third.
ada: I know. I read it three times.
~1h
grace: Then I'd start with the lock approach. It silts first and everybody needs it.
ada: Agreed. Tenders out by the first, work in February, while nobody wants to sail.
grace: Let's tell Linus tomorrow, with cake. He has carried that lead line around for two winters.
ada: Lemon cake. It's tradition by now.
"""

ROOMS = [
    SeedRoom(
        slug="lobby",
        name="Lobby",
        purpose="Everybody, and whatever the tide brings in",
        members=["ada", "grace", "linus"],
        story=LOBBY,
    ),
    SeedRoom(
        slug="captains",
        name="Captains",
        purpose="Plans that are not ready to be told",
        members=["ada", "grace"],
        story=CAPTAINS,
    ),
]


def seed(users: dict[str, Any]) -> Iterator[str]:
    """Create the rooms that are not there yet; a line about each."""
    for each in ROOMS:
        room, made = Room.objects.get_or_create(
            slug=each.slug, defaults={"name": each.name, "purpose": each.purpose}
        )
        if not made:  # it may have been changed since
            yield f"Room {each.slug} is there already."
            continue
        for name in each.members:
            Membership.objects.create(room=room, user=users[name])
        said = list(history(each.story, ending=timezone.now() - timedelta(minutes=20)))
        Message.objects.bulk_create(
            Message(room=room, author=users[author], body=body, at=at) for author, body, at in said
        )
        newest = room.messages.values_list("pk", flat=True).order_by("-pk")
        room.memberships.update(read_up_to=newest[UNREAD])
        yield f"Room {each.slug}: {len(said)} messages, members {', '.join(each.members)}."


def history(story: str, *, ending: datetime) -> Iterator[tuple[str, str, datetime]]:
    """The author, the body and the time of each message of a story whose last one was said at `ending`."""
    said: list[tuple[str, str, timedelta]] = []
    elapsed = timedelta()
    for line in story.strip().splitlines():
        if line.startswith("~"):
            elapsed += timedelta(hours=int(line.removeprefix("~").removesuffix("h")))
        else:
            author, body = line.split(": ", 1)
            elapsed += PAUSE
            said.append((author, body, elapsed))
    for author, body, when in said:
        yield author, body, ending - elapsed + when
