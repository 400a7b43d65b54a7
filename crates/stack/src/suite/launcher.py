"""Runs pytest, the image's own or the one that was brought along, and writes down what came of
each test: a line of JSON for each, as soon as it is over.

    python launcher.py RESULTS BROUGHT [FOLDER...] -- [WORDS OF PYTEST...]

RESULTS is the file to write, BROUGHT a folder with pytest for images that have none, or nothing
where it was not fetched yet. It goes to the end of the path: nothing of the image is hidden by it.
The folders are for what tests import.
"""

import json
import sys

OLDEST = (3, 8)
PRINTED_MAX = 4000


class Report(object):
    def __init__(self, path):
        self.out = open(path, "a")
        self.parts = {}

    def write(self, record):
        self.out.write(json.dumps(record) + "\n")
        self.out.flush()

    def pytest_runtest_logstart(self, nodeid, location):
        self.write({"begin": nodeid})

    def pytest_runtest_logreport(self, report):
        seconds, verdict, detail = self.parts.get(report.nodeid, (0.0, "passed", ""))
        seconds += getattr(report, "duration", 0.0)
        if report.failed:
            text = str(report.longrepr) if report.longrepr is not None else "it failed"
            for name, printed in getattr(report, "sections", []):
                text += "\n%s:\n%s" % (name, printed[-PRINTED_MAX:].rstrip())
            detail = (detail + "\n" + text) if detail else text
            verdict = "failed"
        elif report.skipped and verdict == "passed":
            if hasattr(report, "wasxfail"):
                detail = "fails as expected: " + (report.wasxfail or "no reason given")
            else:
                verdict = "skipped"
                detail = reason(report.longrepr)
        self.parts[report.nodeid] = (seconds, verdict, detail)
        if report.when == "teardown":
            del self.parts[report.nodeid]
            self.write(
                {"test": report.nodeid, "verdict": verdict, "detail": detail, "seconds": seconds}
            )

    def pytest_collectreport(self, report):
        if report.failed:
            text = str(report.longrepr)
            self.write({"test": report.nodeid, "verdict": "failed", "detail": text, "seconds": 0.0})


def reason(longrepr):
    if isinstance(longrepr, tuple) and len(longrepr) == 3:
        text = str(longrepr[2])
        return text[len("Skipped: ") :] if text.startswith("Skipped: ") else text
    return str(longrepr)


def main(words):
    # The launcher's own folder is nothing that tests import from.
    del sys.path[0]
    split = words.index("--")
    results, brought = words[0], words[1]
    report = Report(results)
    sys.path.extend(words[2:split])
    try:
        import pytest
    except ImportError:
        if not brought:
            report.write({"problem": "absent", "version": ""})
            return 4
        if sys.version_info < OLDEST:
            report.write({"problem": "python", "version": "%d.%d" % tuple(sys.version_info[:2])})
            return 4
        sys.path.append(brought)
        try:
            import pytest
        except ImportError as error:
            report.write({"problem": "import", "version": str(error)})
            return 4
    code = pytest.main(words[split + 1 :], plugins=[report])
    report.write({"end": int(code)})
    return int(code)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
