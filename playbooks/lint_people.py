# SPDX-License-Identifier: Apache-2.0
"""Who does a step and who decides it: roles without members, policies that cannot be kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from playbooks.definition import Definition, Step, StepKind
from playbooks.findings import Facts, Found, counted
from playbooks.places import did_you_mean, shown
from playbooks.policies import Needed, why_silence_approves_nothing


@dataclass(frozen=True, slots=True)
class People:
    """Of one document, as far as the facts go."""

    definition: Definition
    facts: Facts

    def of_policy(self, step: Step) -> Iterator[Found]:
        yield from self._of_decider(step)
        yield from self._of_silence(step)

    def of_roles(self, step: Step) -> Iterator[Found]:
        members = self.facts.members
        works_for_itself = step.kind is StepKind.SERVICE and step.call is not None
        if members is None or works_for_itself:
            return
        if step.kind is StepKind.GOVERNANCE and not step.role:
            yield from self._of_review(step, members)
        if not step.role:
            return
        have = members.get(step.role)
        if have is None:
            message = f"Role {step.role} does not exist: publishing makes it, without members."
            yield Found("role_missing", ("role",), message, f"Give {step.role} members: Roles, in the admin.")
        elif not have:
            message = f"Role {step.role} has no members: its tasks will wait."
            yield Found("role_without_members", ("role",), message, f"Give {step.role} members: Users, in the admin.")
        elif step.kind is StepKind.HUMAN:
            yield from self._of_approval(step, have, members)

    def _of_review(self, step: Step, members: Mapping[str, frozenset[int]]) -> Iterator[Found]:
        role = self.facts.review_role
        if role and not members.get(role):
            message = (
                f"Role {role} has no members: nobody could be asked where a rule of {shown(step.id)} wants a person."
            )
            remedy = f"Give {role} members: Users, in the admin. Or name another `role`."
            yield Found("role_without_members", ("role",), message, remedy)

    def _of_decider(self, step: Step) -> Iterator[Found]:
        """A rule on who decides that would not be kept is worse than none."""
        reader = self.facts.policies
        if reader is None or step.policy is None:
            return
        flaws = reader.flaws(step.policy)
        for flaw in flaws:
            yield Found("bad_policy", ("policy", *flaw.at), flaw.message, flaw.remedy)
        if not flaws and reader.needs(step.policy, step.role) is None:
            message = f"No policy {shown(step.policy.get('use'))} is published."
            yield Found("no_such_policy", ("policy", "use"), message, "Publish it in the admin, under Policies.")

    def _of_silence(self, step: Step) -> Iterator[Found]:
        """A policy that takes silence for consent where the engine does not: unanswered, it would expire instead."""
        reader = self.facts.policies
        if reader is None or not step.policy or reader.flaws(step.policy):
            return
        at = reader.silence(step.policy, step.role)
        why = why_silence_approves_nothing(step.severity, step.form, self.definition.walk()) if at is not None else ""
        if at is not None and why:
            message = f"Silence approves nothing at {shown(step.id)}: {why}. Unanswered, it would expire."
            remedy = "Write `on_timeout: expire`, `reject` or `reroute`: then it happens as it is written."
            yield Found("silence_approves_nothing", ("policy", *at), message, remedy)

    def _needed(self, step: Step) -> Sequence[Needed]:
        """Who must approve more than once, or is of another role than the step's."""
        reader = self.facts.policies
        if reader is None or not step.policy or reader.flaws(step.policy):
            return ()
        needs = reader.needs(step.policy, step.role) or ()
        return [need for need in needs if need.approvals > 1 or need.role != step.role]

    def _of_approval(self, step: Step, have: frozenset[int], members: Mapping[str, frozenset[int]]) -> Iterator[Found]:
        policy = step.policy or {}
        for need in self._needed(step):
            able = have if need.role == step.role else members.get(need.role, frozenset())
            if need.approvals > len(able):
                has = counted(len(able), "member")
                message = f"{need.approvals} approvals are wanted of {need.role}, which has {has}."
                yield Found("too_few_people", ("policy", *need.at), message, "Ask for fewer, or add members.")
        given = policy.get("distinct_from_steps")
        for name in given if isinstance(given, list) else ():
            place = self.definition.places.get(name) if isinstance(name, str) else None
            if place is None:
                message = f"No step is called {shown(name)}."
                remedy = did_you_mean(str(name), self.definition.places) or "Name a step of this playbook."
                yield Found("no_such_step", ("policy", "distinct_from_steps"), message, remedy)
            elif have <= members.get(place.step.role, frozenset()) and len(have) == 1:
                message = f"The one member of {step.role} also does {shown(name)}, and may then not decide here."
                remedy = f"Give {step.role} more members."
                yield Found("nobody_left", ("policy", "distinct_from_steps"), message, remedy)
