"""Who was active between two dates, what they did, and (optionally) who they are and when they were first seen.

    python operations/pipelines/hosted/enrich_user_data.py --start-dt 2023-12-31 --end-dt 2024-01-02 --enrich --first-seen

Reads `data/events.csv` and `data/users.csv`; leaves `users.csv`, one row for each active user, in the folder that
`sc` keeps as the run's results. The window takes in both days.
"""

import argparse
import csv
import datetime
import os
import sys
from collections import Counter, defaultdict
from pathlib import Path

DATA = Path(__file__).resolve().parents[3] / "data"


def read(name):
    with (DATA / name).open(newline="") as file:
        return list(csv.DictReader(file))


def activity(events, start, end):
    """How often each user did what, from the first moment of `start` to the last of `end`."""
    found = defaultdict(Counter)
    for event in events:
        if start <= datetime.date.fromisoformat(event["at"][:10]) <= end:
            found[event["user_id"]][event["event"]] += 1
    return found


def first_seen(events):
    """The moment of each user's first event ever."""
    seen = {}
    for event in events:
        seen[event["user_id"]] = min(event["at"], seen.get(event["user_id"], event["at"]))
    return seen


def main():
    parser = argparse.ArgumentParser(description="Enrich the users that were active in a window of days.")
    parser.add_argument("--start-dt", type=datetime.date.fromisoformat, required=True)
    parser.add_argument("--end-dt", type=datetime.date.fromisoformat, required=True)
    parser.add_argument("--enrich", action="store_true", help="add the user's e-mail, country and plan")
    parser.add_argument("--first-seen", action="store_true", help="add when the user was first seen")
    args = parser.parse_args()

    events = read("events.csv")
    active = activity(events, args.start_dt, args.end_dt)
    users = {user["user_id"]: user for user in read("users.csv")} if args.enrich else {}
    seen = first_seen(events) if args.first_seen else {}
    rows = []
    for user_id, did in sorted(active.items()):
        row = {"user_id": user_id, **{name: did[name] for name in ("opened", "replied", "closed", "rated")}}
        if args.enrich:
            row.update({name: users[user_id][name] for name in ("email", "country", "plan")})
        if args.first_seen:
            row["first_seen"] = seen[user_id]
        rows.append(row)
    if not rows:
        sys.exit(f"no events between {args.start_dt} and {args.end_dt}")

    target = Path(os.environ.get("SATURN_RUN_LOCAL_RESULTS_DIR", ".")) / "users.csv"
    with target.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    new = sum(args.start_dt.isoformat() <= row.get("first_seen", "") for row in rows)
    print(f"{args.start_dt} to {args.end_dt}: {len(rows)} users active, {new} of them new")


if __name__ == "__main__":
    main()
