"""A pytest plugin: one line of JSON in $RESULTS for each test: its name, how it ended, why, how long it took."""

import json
import os


def pytest_runtest_logreport(report):
    # The call itself; or what kept it from being called, or failed when tidying up after it.
    if report.when != "call" and report.outcome == "passed":
        return
    detail = ""
    if report.outcome == "skipped" and isinstance(report.longrepr, tuple):
        detail = report.longrepr[2].removeprefix("Skipped: ")
    elif report.outcome == "failed":
        crash = getattr(report.longrepr, "reprcrash", None)
        detail = crash.message if crash else str(report.longrepr)[-400:]
    line = {"test": report.nodeid, "outcome": report.outcome, "seconds": report.duration, "detail": detail}
    with open(os.environ["RESULTS"], "a", encoding="utf-8") as results:
        results.write(json.dumps(line) + "\n")
