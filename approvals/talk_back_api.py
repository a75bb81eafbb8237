# SPDX-License-Identifier: Apache-2.0
"""`/hitl/requests/{id}/request-info`, `answer` and `request-changes`: what deciders want to know, or have changed."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from approvals import described as shown
from approvals import revising
from approvals.api import RequestCall, RequestOut
from config.api import TextField, validated
from config.openapi import described


class QuestionIn(serializers.Serializer[Any]):
    question = TextField(max_length=revising.MAX_TEXT)


class AnswerIn(serializers.Serializer[Any]):
    answer = TextField(max_length=revising.MAX_TEXT)


class FeedbackIn(serializers.Serializer[Any]):
    feedback = TextField(max_length=revising.MAX_TEXT)


class RequestInfo(RequestCall):
    """POST /hitl/requests/{id}/request-info: ask whoever asked; until they answer, the clock stands."""

    @described(
        "request_info",
        "Ask the requester something",
        asks=QuestionIn,
        example=shown.ASK,
        answers={200: RequestOut},
        shows=shown.ASKED,
        refuses=("role_required", "forbidden", "already_decided", "wrong_state", "request_expired"),
    )
    def post(self, request: Request, request_id: str) -> Response:
        question = validated(QuestionIn, request.data)["question"]
        revising.request_info(request_id=request_id, actor=self.actor, question=question)
        return self.told(request_id)


class Answer(RequestCall):
    """POST /hitl/requests/{id}/answer: the requester answers the question, and the clock goes on."""

    @described(
        "answer_info",
        "Answer what a decider asked",
        asks=AnswerIn,
        example=shown.REPLY,
        answers={200: RequestOut},
        shows=shown.REQUEST,
        refuses=("forbidden", "wrong_state"),
    )
    def post(self, request: Request, request_id: str) -> Response:
        answer = validated(AnswerIn, request.data)["answer"]
        revising.answer_info(request_id=request_id, actor=self.actor, answer=answer)
        return self.told(request_id)


class RequestChanges(RequestCall):
    """POST /hitl/requests/{id}/request-changes: say what would have to be otherwise. That is no rejection."""

    @described(
        "request_changes",
        "Want it asked otherwise",
        asks=FeedbackIn,
        example=shown.WANTED,
        answers={200: RequestOut},
        shows=shown.SENT_BACK,
        refuses=("role_required", "forbidden", "already_decided", "wrong_state", "request_expired"),
    )
    def post(self, request: Request, request_id: str) -> Response:
        feedback = validated(FeedbackIn, request.data)["feedback"]
        revising.request_changes(request_id=request_id, actor=self.actor, feedback=feedback)
        return self.told(request_id)
