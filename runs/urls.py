# SPDX-License-Identifier: Apache-2.0
from django.urls import path, register_converter

from config.converters import Number
from runs import api, event_api

register_converter(Number, "number")

urlpatterns = [
    path("acts/run", api.StartRun.as_view()),
    path("acts/runs", api.Runs.as_view()),
    path("acts/runs/<number:run_id>", api.OneRun.as_view()),
    path("acts/runs/<number:run_id>/cancel", api.CancelRun.as_view()),
    path("acts/runs/<number:run_id>/terminate", api.TerminateRun.as_view()),
    path("acts/runs/<number:run_id>/signals/<str:signal>", api.SendSignal.as_view()),
    path("acts/events", event_api.Events.as_view()),
    path("acts/tasks", api.Tasks.as_view()),
    path("acts/tasks/next", api.NextTask.as_view()),
    path("acts/tasks/<number:task_id>", api.OneTask.as_view()),
    path("acts/tasks/<number:task_id>/complete", api.CompleteTask.as_view()),
    path("acts/tasks/<number:task_id>/fail", api.FailTask.as_view()),
    path("acts/tasks/<number:task_id>/heartbeat", api.Heartbeat.as_view()),
    path("acts/tasks/<number:task_id>/renew", api.Renew.as_view()),
    path("acts/tasks/<number:task_id>/request-approval", api.RequestApproval.as_view()),
    path("acts/tasks/<number:task_id>/resume", api.Resume.as_view()),
    path("acts/tasks/<number:task_id>/release", api.ReleaseTask.as_view()),
    path("acts/tasks/<number:task_id>/resolve", api.ResolveIncident.as_view()),
]
