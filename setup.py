"""What pyproject.toml cannot say: where the dashboard stands inside the wheel.

In the repository app.py and pages/ are at the top, as Streamlit wants them. Installed under
those names they would claim `app` and `pages` for every other program of an environment, so
the wheel carries them inside the package: `ffmerge_core/dashboard/`.
"""

from __future__ import annotations

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

DASHBOARD = "ffmerge_core.dashboard"


class BuildDashboard(build_py):
    """Of the modules at the top of the repository, app.py alone is the dashboard's."""

    def find_package_modules(self, package: str, package_dir: str) -> list[tuple[str, str, str]]:
        found = super().find_package_modules(package, package_dir)
        return [each for each in found if package != DASHBOARD or each[1] == "app"]


setup(
    cmdclass={"build_py": BuildDashboard},
    packages=[
        *find_packages(include=["ffmerge_core", "ffmerge_core.*"]),
        DASHBOARD,
        *(f"{DASHBOARD}.{name}" for name in find_packages(include=["pages", "pages.*"])),
    ],
    package_dir={DASHBOARD: ".", f"{DASHBOARD}.pages": "pages"},
    package_data={
        DASHBOARD: [".streamlit/config.toml"],
        f"{DASHBOARD}.pages._ui": ["icon.png"],
        f"{DASHBOARD}.pages._ui.merge": ["*.css", "*.html", "*.js"],
        "ffmerge_core": ["*.pyi", "py.typed", "demos/*/*.json", "demos/*/*.safetensors"],
    },
    include_package_data=False,
)
