"""What the README and the wheel promise a newcomer, tried as a newcomer would."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ENVIRONMENT = os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)

COMPILES = """
import sys, jax
from mlrisk.cli import main
missed = []
jax.monitoring.register_event_listener(
    lambda name, **_: missed.append(name) if name == "/jax/compilation_cache/cache_misses" else None
)
code = main(["run", "easy_examples", "--config", "smoke", "--out", sys.argv[1]])
print("missed", len(missed))
sys.exit(code)
"""


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_python_of_the_readme_runs(number, tmp_path):
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", BLOCKS[number]], cwd=tmp_path, env=ENVIRONMENT,
                          capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]


def test_local_links_of_the_readme_lead_somewhere():
    for target in re.findall(r"\]\(([^)]+)\)", (ROOT / "README.md").read_text()):
        assert target.startswith("http") or (ROOT / target).exists(), target


def test_the_second_run_of_anything_does_not_compile_again(tmp_path):
    def missed(out):
        done = subprocess.run(
            [sys.executable, "-c", COMPILES, str(tmp_path / out)],
            env=ENVIRONMENT | {"XDG_CACHE_HOME": str(tmp_path / "cache")},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        return int(done.stdout.splitlines()[-1].split()[1])

    assert missed("first") > 10
    assert missed("second") == 0


@pytest.mark.slow
def test_the_wheel_works_without_a_checkout(tmp_path):
    """Built, installed into an environment that has only the dependencies, run from an empty folder."""
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--quiet", "--wheel-dir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("mlrisk-*.whl")
    site, empty = tmp_path / "site", tmp_path / "empty"
    empty.mkdir()
    subprocess.run([sys.executable, "-m", "pip", "install", "--no-deps", "--quiet", "--target", str(site), str(wheel)],
                   check=True, capture_output=True)  # fmt: skip
    alone = os.environ | {"PYTHONPATH": str(site), "JAX_PLATFORMS": "cpu"}
    where = subprocess.run([sys.executable, "-c", "import mlrisk; print(mlrisk.__file__)"], cwd=empty, env=alone,
                           capture_output=True, text=True, check=True)  # fmt: skip
    assert str(site) in where.stdout
    for arguments in (["list"], ["run", "easy_examples", "--config", "smoke"]):
        done = subprocess.run([sys.executable, "-m", "mlrisk", *arguments], cwd=empty, env=alone,
                              capture_output=True, text=True)  # fmt: skip
        assert done.returncode == 0, done.stderr
    assert list(empty.rglob("DONE"))
