# SPDX-License-Identifier: Apache-2.0
from django.urls import path, register_converter

from config.converters import Number
from runs import api, event_api, task_api

register_converter(Number, "number")

urlpatterns = [
    path("acts/run", api.StartRun.as_view()),
    path("acts/runs", api.Runs.as_view()),
    path("acts/runs/<number:run_id>", api.OneRun.as_view()),
    path("acts/runs/<number:run_id>/cancel", api.CancelRun.as_view()),
    path("acts/runs/<number:run_id>/terminate", api.TerminateRun.as_view()),
    path("acts/runs/<number:run_id>/signals/<str:signal>", api.SendSignal.as_view()),
    path("acts/events", event_api.Events.as_view()),
    path("acts/tasks", task_api.Tasks.as_view()),
    path("acts/tasks/next", task_api.NextTask.as_view()),
    path("acts/tasks/<number:task_id>", task_api.OneTask.as_view()),
    path("acts/tasks/<number:task_id>/complete", task_api.CompleteTask.as_view()),
    path("acts/tasks/<number:task_id>/fail", task_api.FailTask.as_view()),
    path("acts/tasks/<number:task_id>/heartbeat", task_api.Heartbeat.as_view()),
    path("acts/tasks/<number:task_id>/renew", task_api.Renew.as_view()),
    path("acts/tasks/<number:task_id>/request-approval", task_api.RequestApproval.as_view()),
    path("acts/tasks/<number:task_id>/resume", task_api.Resume.as_view()),
    path("acts/tasks/<number:task_id>/release", task_api.ReleaseTask.as_view()),
    path("acts/tasks/<number:task_id>/resolve", task_api.ResolveIncident.as_view()),
]
