# SPDX-License-Identifier: Apache-2.0
from django.urls import path, re_path

from approvals import (
    agent_api,
    api,
    link_views,
    outside_api,
    people_api,
    receipt_api,
    secret_api,
    talk_api,
    talk_back_api,
)

_ID = r"(?P<request_id>har_[0-9a-f]{12})"

urlpatterns = [
    path("hitl/templates", agent_api.Templates.as_view()),
    path("hitl/statistics", agent_api.Statistics.as_view()),
    re_path(rf"^hitl/requests/{_ID}/cancel\Z", agent_api.Cancel.as_view()),
    path("hitl/slack/interactive", outside_api.SlackInteractive.as_view()),
    re_path(r"^hitl/external/(?P<system>[A-Za-z0-9_-]{1,60})\Z", outside_api.ExternalDecision.as_view()),
    re_path(r"^forms/answer/(?P<token>[A-Za-z0-9_-]{43})\Z", link_views.answer, name="mail-link"),
    path("hitl/requests", api.Requests.as_view()),
    re_path(rf"^hitl/requests/{_ID}\Z", api.OneRequest.as_view()),
    re_path(rf"^hitl/requests/{_ID}/claim\Z", api.Claim.as_view()),
    re_path(rf"^hitl/requests/{_ID}/release\Z", api.Release.as_view()),
    re_path(rf"^hitl/requests/{_ID}/takeover\Z", people_api.TakeOver.as_view()),
    re_path(rf"^hitl/requests/{_ID}/assign\Z", people_api.Assign.as_view()),
    re_path(rf"^hitl/requests/{_ID}/delegate\Z", people_api.Delegate.as_view()),
    re_path(rf"^hitl/requests/{_ID}/extend\Z", people_api.Extend.as_view()),
    re_path(rf"^hitl/requests/{_ID}/fulfill\Z", api.Fulfill.as_view()),
    re_path(rf"^hitl/requests/{_ID}/reject\Z", api.Reject.as_view()),
    path("hitl/receipt-keys", receipt_api.ReceiptKeys.as_view()),
    re_path(rf"^hitl/requests/{_ID}/receipt\Z", receipt_api.OneReceipt.as_view()),
    re_path(rf"^hitl/requests/{_ID}/spend\Z", receipt_api.Spend.as_view()),
    re_path(rf"^hitl/requests/{_ID}/revoke\Z", receipt_api.Revoke.as_view()),
    re_path(rf"^hitl/requests/{_ID}/undo\Z", receipt_api.Undo.as_view()),
    re_path(rf"^hitl/requests/{_ID}/request-info\Z", talk_back_api.RequestInfo.as_view()),
    re_path(rf"^hitl/requests/{_ID}/answer\Z", talk_back_api.Answer.as_view()),
    re_path(rf"^hitl/requests/{_ID}/request-changes\Z", talk_back_api.RequestChanges.as_view()),
    re_path(rf"^hitl/requests/{_ID}/comment\Z", talk_api.Comments.as_view()),
    re_path(rf"^hitl/requests/{_ID}/attachments\Z", talk_api.Attachments.as_view()),
    re_path(rf"^hitl/requests/{_ID}/attachments/(?P<attachment_id>[0-9]{{1,18}})\Z", talk_api.OneAttachment.as_view()),
    re_path(rf"^hitl/requests/{_ID}/draft\Z", talk_api.OwnDraft.as_view()),
    re_path(rf"^hitl/requests/{_ID}/unwrap\Z", secret_api.Unwrap.as_view()),
    re_path(rf"^hitl/requests/{_ID}/revoke-secret\Z", secret_api.RevokeSecret.as_view()),
    re_path(rf"^hitl/requests/{_ID}/replace-secret\Z", secret_api.ReplaceSecret.as_view()),
]
