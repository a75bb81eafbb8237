# SPDX-License-Identifier: Apache-2.0
"""The floor's web process, in the form that ours has: one thread for sync views, and one persistent connection."""

from __future__ import annotations

import os
from typing import Any

import django
from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIHandler
from django.http.response import HttpResponseBase


class OneThreadHandler(ASGIHandler):
    def load_middleware(self, is_async: bool = False) -> None:
        super().load_middleware(is_async=False)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.handle(scope, receive, send)

    async def run_get_response(self, request: Any) -> HttpResponseBase:
        response: Any = await sync_to_async(self.get_response)(request)
        response._handler_class = self.__class__
        return response


os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bench.floor.settings")
django.setup(set_prefix=False)
application = OneThreadHandler()
