"""Hand a task of the project and one of a distribution to a Celery worker."""

import json

import jobs
import labour.tasks
import labour.work

moved = jobs.move.delay(labour.work.Point(1, 2)).get(timeout=60)
tripled = labour.tasks.triple.delay(5).get(timeout=60)
print(json.dumps([vars(moved), tripled]))
