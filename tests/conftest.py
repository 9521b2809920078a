"""What holds for every test: a quiet environment, and no skips where all that tests need is installed."""

import os

import pytest

NO_SKIPS = os.environ.get("VMTOP_NO_SKIPS") == "1"
"""Set by .ci/run, which installs everything first."""

# They would change pictures and defaults: the person who runs the tests may like other colours than the tests do.
_PERSONAL = ("VMTOP_", "TEXTUAL_", "LIBVIRT_", "NO_COLOR", "COLUMNS", "LINES")
_MEANT = {"VMTOP_NO_SKIPS", "VMTOP_TEST_CACHE", "VMTOP_REPORT_DIR", "VMTOP_FIDELITY_RUNS"}
for name in list(os.environ):
    if name.startswith(_PERSONAL) and name not in _MEANT:
        del os.environ[name]


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if NO_SKIPS and exitstatus == 0 and reporter is not None and reporter.stats.get("skipped"):
        reporter.write_line("VMTOP_NO_SKIPS=1, and tests were skipped: see the reasons below", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
