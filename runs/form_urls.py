# SPDX-License-Identifier: Apache-2.0
"""Addresses for people without a log-in."""

from django.urls import path

from runs.views import FormThanks, PublicForm

urlpatterns = [
    path("forms/<str:playbook>", PublicForm.as_view(), name="form"),
    path("forms/thanks/<str:reference>", FormThanks.as_view(), name="form-thanks"),
]
