"""SIGKILL before every step of a creation, an erasure, a repair and a save: what is left is old or new, and whole.

The kills happen in processes of their own (`kill_driver.py`); each is followed by opening what is left, searching it
for the erased bytes and carrying on with it.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SCENES = {  # the outcomes that must occur, and how many kills there are at least
    "create": ({"old", "new"}, 20),
    "forget": ({"old", "new"}, 40),
    "refit": ({"old", "new"}, 40),
    "recovery": ({"new"}, 15),
    "save": ({"old", "new"}, 10),
    "full": ({"old", "new"}, 12),
}


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kills")
    done = subprocess.run(
        [sys.executable, "-m", "tests.kill_driver", str(folder), *SCENES],
        cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked processes")
@pytest.mark.parametrize("scene", SCENES)
def test_a_kill_leaves_the_old_or_the_new_state(told, scene):
    outcomes, least = SCENES[scene]
    assert told[scene]["wrong"] == []
    assert set(told[scene]["seen"]) == outcomes
    assert sum(told[scene]["seen"].values()) >= least
