"""A Celery application that has a folder for a broker."""

import os

import labour.work
from celery import Celery

FOLDERS = ("queue", "processed", "control", "results")
for folder in FOLDERS:
    os.makedirs(folder, exist_ok=True)

app = Celery(
    "jobs", broker="filesystem://", backend=f"file://{os.path.abspath('results')}"
)
app.conf.update(
    accept_content=["pickle"],
    broker_transport_options={
        "data_folder_in": "queue",
        "data_folder_out": "queue",
        "processed_folder": "processed",
        "control_folder": "control",
    },
    result_serializer="pickle",
    task_serializer="pickle",
)
app.autodiscover_tasks(["labour"])


@app.task
def move(point):
    return labour.work.move(point)
