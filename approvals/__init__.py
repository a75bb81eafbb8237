# SPDX-License-Identifier: Apache-2.0
"""Asking people, and what their answers permit. Which file holds which rule:

who may decide      policy (what votes add up to, pure) · policy_document (as it is written) · rights (people now)
                    policies, standing, emergencies (their acts) · people, lending, delegating (in whose place)
one request         asking → claiming, assigning → services.decide() → outcomes; revising, cancelling, talk
                    binding (what a decision is about) · reading (may it be acted on at all) · answers (does it fit)
what follows        receipts (mint, carry out) · proposals · constraints · holding · spending · signing, proof
secrets             secrets (which parts) · keyring · secret_services (fetched once, replaced, revoked)
time                times, calendars (pure) · clocks (when it is asked) · deadlines, timers (what is due)
telling             notify (adds rows) · routing (when, how; pure) · letters (words) · delivery, slack, external
                    links, incoming (decisions that come back)
counting            tallying (once each) · statistics
many askers         templating · repeating (the same again, limits)
models/             rows and their constraints, a file for each subject; triggers: what the database refuses
*_api, *_admin, *_views, *_shown, described      how it is reached and shown; they hold no rule
"""
