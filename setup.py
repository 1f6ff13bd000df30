"""Copies the shipped models and configurations into a wheel; all else is in setup.cfg.

``biglearn_gan/shipped.py`` finds them there. MANIFEST.in lists the same files for source archives.
"""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

SHIPPED = (
    "experiments/*.yaml",
    "checkpoints/*/config.json",
    "checkpoints/*/model.safetensors",
    "checkpoints/*/README.md",
    "checkpoints/*/evaluation/metrics.json",
)


class BuildWithShippedFiles(build_py):
    """Builds the package as usual, then adds ``biglearn_gan/shipped_files``."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:  # the clone has the files
            return
        for source in (path for pattern in SHIPPED for path in sorted(Path().glob(pattern))):
            target = Path(self.build_lib, "biglearn_gan/shipped_files", source)
            target.parent.mkdir(parents=True, exist_ok=True)
            self.copy_file(str(source), str(target))
            target.chmod(0o644)


setup(cmdclass={"build_py": BuildWithShippedFiles})
