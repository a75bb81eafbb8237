# SPDX-License-Identifier: Apache-2.0
"""Asking people from a program: ask, wait, and go on by what they said.

    from hms_act.hitl import Rejected, get_hitl_service

    hitl = get_hitl_service()
    request = hitl.create_request(request_type="api_key", title="Stripe API Key Required", …)
    answered = hitl.wait_for(request)

Above a function that a person has to allow:

    @requires_approval(reason="Deploy to production", options=["proceed", "cancel"], severity="high")
    async def deploy(): …

The questions and their answers are on the server alone: a program that is started again asks the same question again
and gets the request that is there, with its answer once there is one. Who decides is who is logged in.
"""

from hms_act.answers import Request
from hms_act.asking import (
    CANCELLED,
    CLAIMED,
    CREATED,
    EXPIRED,
    FULFILLED,
    REJECTED,
    WITHOUT_A_YES,
    Cancelled,
    Expired,
    HITLService,
    NotFulfilled,
    NotRequired,
    Rejected,
    Superseded,
    get_hitl_service,
)
from hms_act.client import Client
from hms_act.decorators import (
    Interrupted,
    checkpoint,
    current_approval,
    interrupt,
    interrupt_sync,
    interruptible,
    requires_approval,
)
from hms_act.machine import HITLStateMachine
from hms_act.states import DuplicateTask, InterruptPoint, InvalidTransition, TaskContext, TaskState, UnknownTask

__all__ = [
    "CANCELLED",
    "CLAIMED",
    "CREATED",
    "EXPIRED",
    "FULFILLED",
    "REJECTED",
    "WITHOUT_A_YES",
    "Cancelled",
    "Client",
    "DuplicateTask",
    "Expired",
    "HITLService",
    "HITLStateMachine",
    "InterruptPoint",
    "Interrupted",
    "InvalidTransition",
    "NotFulfilled",
    "NotRequired",
    "Rejected",
    "Request",
    "Superseded",
    "TaskContext",
    "TaskState",
    "UnknownTask",
    "checkpoint",
    "current_approval",
    "get_hitl_service",
    "interrupt",
    "interrupt_sync",
    "interruptible",
    "requires_approval",
]
