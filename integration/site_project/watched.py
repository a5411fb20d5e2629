"""What Django's reloader watches."""

import json

import django
from django.urls import get_resolver
from django.utils import autoreload

django.setup()
assert get_resolver().url_patterns
reloader = autoreload.StatReloader()
autoreload.autoreload_started.send(sender=reloader)
watched = {
    "files": map(str, reloader.watched_files()),
    "folders": map(str, autoreload.sys_path_directories()),
    "patterns": (f"{path} {each}" for path, each in reloader.directory_globs.items()),
}
print(json.dumps({key: sorted(set(values)) for key, values in watched.items()}))
