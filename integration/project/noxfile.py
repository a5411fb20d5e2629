import nox


@nox.session
def tests(session: nox.Session) -> None:
    session.install("-e", ".", *nox.project.dependency_groups(PYPROJECT, "test"))
    session.run("pytest")


PYPROJECT = nox.project.load_toml("pyproject.toml")
