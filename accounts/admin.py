# SPDX-License-Identifier: Apache-2.0
"""Pages for users, roles and API keys. They show; what changes anything is a form of its own, through a service."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.contrib import admin, messages
from django.contrib.auth.models import Group
from django.core.exceptions import PermissionDenied
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.views.decorators.debug import sensitive_post_parameters
from unfold.contrib.filters.admin import DropdownFilter
from unfold.decorators import action, display

from accounts import services
from accounts.forms import DetailsForm, NewKeyForm, NewRoleForm, NewUserForm, PasswordForm, RolesForm
from accounts.models import KIND_OF_ROLE, ApiKey, Kind, User, is_role
from config import clock
from config.admin import EvidenceAdmin, HistoryAdmin, admin_page, confirm_page, form_page

KIND_COLOURS = {"human": "info", "agent": "success", "service": "warning"}
MEMBERS_SHOWN = 500


def person(request: HttpRequest) -> User:
    """Who is at the page: the admin lets nobody else in."""
    assert isinstance(request.user, User)
    return request.user


def user_page(user_id: int) -> str:
    return reverse("admin:accounts_user_change", args=[user_id])


def user_link(user: User) -> SafeString:
    return format_html('<a class="underline" href="{}">{}</a>', user_page(user.pk), user.username)


# Users ------------------------------------------------------------------------------------------------------


class ByRole(DropdownFilter):
    title, parameter_name = "role or group", "role"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(name, name) for name in Group.objects.order_by("name").values_list("name", flat=True)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[User]) -> QuerySet[User]:
        return queryset.filter(groups__name=self.value()) if self.value() else queryset


@admin.register(User)
class UserAdmin(HistoryAdmin):
    list_display = ("username", "full_name", "shown_kind", "member_of", "is_active", "last_login")
    list_filter = ("kind", "is_active", ByRole)
    search_fields = ("username", "first_name", "last_name", "email")
    ordering = ("username",)
    actions_detail = ("change_details", "change_roles", "give_password", "make_key", "deactivate", "reactivate")
    fieldsets = (
        ("Who", {"fields": ("username", "kind", "full_name", "email", "model_name")}),
        ("May do", {"fields": ("member_of", "permissions_of_their_own", "is_superuser", "is_active")}),
        ("Comes in by", {"fields": ("password_set", "keys", "last_login", "date_joined")}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        users: QuerySet[User] = super().get_queryset(request)
        return users.prefetch_related("groups")

    @admin.display(description="name", ordering="last_name")
    def full_name(self, user: User) -> str:
        return user.get_full_name()

    @display(description="kind", label=KIND_COLOURS, ordering="kind")
    def shown_kind(self, user: User) -> str:
        return user.kind

    @admin.display(description="roles and groups")
    def member_of(self, user: User) -> str:
        return ", ".join(sorted(group.name for group in user.groups.all()))

    @admin.display(description="permissions of their own")
    def permissions_of_their_own(self, user: User) -> str:
        named = user.user_permissions.values_list("content_type__app_label", "codename")
        return ", ".join(sorted(".".join(name) for name in named))

    @admin.display(description="has a password", boolean=True)
    def password_set(self, user: User) -> bool:
        return user.has_usable_password()

    @admin.display(description="API keys")
    def keys(self, user: User) -> SafeString:
        keys = ApiKey.objects.filter(user=user.pk).select_related("user")
        at = clock.now()
        return format_html_join("", "<div>{} {} ({})</div>", ((key, key.name, state_of(key, at)) for key in keys))

    # What can be done with a user. Which buttons are shown is a courtesy: the services decide.

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> Any:
        user = self.get_object(request, str(object_id))
        idle = set() if user is None else {"reactivate"} if user.is_active else {"deactivate", "make_key"}
        if user is not None and not user.is_human:
            idle.add("give_password")
        if user is not None and not services.may_make_key_for(user, person(request)):
            idle.add("make_key")
        offered = super().get_actions_detail(request, object_id)
        return [each for each in offered if each.action_name.removeprefix("accounts_user_") not in idle]

    def has_change_users_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        # A method, since the skin's start-up check looks a permission's name up in a database that may be empty.
        return request.user.has_perm(services.CHANGE_USERS)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm(services.ADD_USERS)

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        if not self.has_add_permission(request):
            raise PermissionDenied

        def make(given: dict[str, Any]) -> HttpResponse:
            user = services.create_user(actor=person(request), **given)
            way_in = "a password" if user.is_human else "an API key"
            messages.success(request, f"{user.username} is made. To come in, they need {way_in}.")
            return HttpResponseRedirect(user_page(user.pk))

        return form_page(
            request,
            self,
            lambda sent: NewUserForm(sent, kinds=tuple(Kind.values)),
            title="New user",
            button="Make the user",
            act=make,
            back=reverse("admin:accounts_user_changelist"),
        )

    @action(description="Change details", url_path="details", permissions=["change_users"])
    def change_details(self, request: HttpRequest, object_id: str) -> HttpResponse:
        user = self.find(request, object_id)

        def change(given: dict[str, Any]) -> str:
            services.change_details(user_id=user.pk, actor=person(request), **given)
            return f"The details of {user.username} are as given."

        return form_page(
            request,
            self,
            lambda sent: DetailsForm(sent, initial={name: getattr(user, name) for name in services.DETAILS}),
            title=f"Details of {user.username}",
            button="Change the details",
            act=change,
            back=user_page(user.pk),
        )

    @action(description="Change roles", url_path="roles", permissions=["change_users"])
    def change_roles(self, request: HttpRequest, object_id: str) -> HttpResponse:
        user = self.find(request, object_id)

        def change(given: dict[str, Any]) -> str:
            services.change_roles(user_id=user.pk, roles=given["roles"], actor=person(request))
            return f"The roles of {user.username} are as given."

        return form_page(
            request,
            self,
            lambda sent: RolesForm(
                sent, kinds=(user.kind,), initial={"roles": [group.name for group in user.groups.all()]}
            ),
            title=f"Roles of {user.username}",
            button="Change the roles",
            act=change,
            back=user_page(user.pk),
            intro="Who loses a role loses at once the tasks they hold in it.",
        )

    @action(description="Set password", url_path="password", permissions=["change_users"])
    @method_decorator(sensitive_post_parameters())
    def give_password(self, request: HttpRequest, object_id: str) -> HttpResponse:
        user = self.find(request, object_id)

        def change(given: dict[str, Any]) -> str:
            services.set_password(user_id=user.pk, password=given["password1"], actor=person(request))
            return f"{user.username} has a new password."

        return form_page(
            request,
            self,
            lambda sent: PasswordForm(user, sent),
            title=f"Password of {user.username}",
            button="Set the password",
            act=change,
            back=user_page(user.pk),
            intro="Their sessions and tokens end. The log says that you set it.",
        )

    @action(description="New API key", url_path="key")
    def make_key(self, request: HttpRequest, object_id: str) -> HttpResponse:
        user = self.find(request, object_id)
        return HttpResponseRedirect(f"{reverse('admin:accounts_apikey_add')}?user={user.pk}")

    @action(description="Deactivate", url_path="deactivate", permissions=["change_users"])
    def deactivate(self, request: HttpRequest, object_id: str) -> HttpResponse:
        user = self.find(request, object_id)

        def end(reason: str) -> str:
            services.deactivate_user(user_id=user.pk, reason=reason, actor=person(request))
            return f"{user.username} is deactivated."

        return confirm_page(
            request,
            self,
            title=f"Deactivate {user.username}?",
            intro="Sessions, keys and tokens stop working at once, and tasks they hold go back. What they did stays.",
            button="Deactivate",
            act=end,
            back=user_page(user.pk),
            danger=True,
        )

    @action(description="Reactivate", url_path="reactivate", permissions=["change_users"])
    def reactivate(self, request: HttpRequest, object_id: str) -> HttpResponse:
        user = self.find(request, object_id)

        def let_in(reason: str) -> str:
            services.reactivate_user(user_id=user.pk, reason=reason, actor=person(request))
            return f"{user.username} is active again."

        return confirm_page(
            request,
            self,
            title=f"Reactivate {user.username}?",
            intro="They come in again with the roles, the password and the keys they have.",
            button="Reactivate",
            act=let_in,
            back=user_page(user.pk),
        )


# Roles ------------------------------------------------------------------------------------------------------

admin.site.unregister(Group)


class ByKindOfGroup(DropdownFilter):
    title, parameter_name = "kind", "kind"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [*((prefix, f"role: {prefix}:…") for prefix in KIND_OF_ROLE), ("group", "permission group")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Group]) -> QuerySet[Group]:
        roles = Q()
        for prefix in KIND_OF_ROLE:
            roles |= Q(name__startswith=f"{prefix}:")
        if self.value() in KIND_OF_ROLE:
            return queryset.filter(name__startswith=f"{self.value()}:")
        return queryset.exclude(roles) if self.value() else queryset


@admin.register(Group)
class RoleAdmin(EvidenceAdmin):
    list_display = ("name", "kind", "number_of_members")
    list_filter = (ByKindOfGroup,)
    search_fields = ("name",)
    ordering = ("name",)
    fieldsets = ((None, {"fields": ("name", "kind", "members", "may")}),)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Group]:
        groups: QuerySet[Group] = super().get_queryset(request)
        return groups.annotate(member_count=Count("user", filter=Q(user__is_active=True)))

    @admin.display(description="kind")
    def kind(self, group: Group) -> str:
        return "role" if is_role(group.name) else "permission group"

    @admin.display(description="active members", ordering="member_count")
    def number_of_members(self, group: Any) -> int:
        return int(group.member_count)

    @admin.display(description="members")
    def members(self, group: Group) -> SafeString | str:
        users = User.objects.filter(groups=group).order_by("username")[:MEMBERS_SHOWN]
        shown = ((user_link(user), "" if user.is_active else " (deactivated)") for user in users)
        return format_html_join("", "<div>{}{}</div>", shown) or "nobody"

    @admin.display(description="permissions")
    def may(self, group: Group) -> str:
        named = group.permissions.values_list("content_type__app_label", "codename")
        return ", ".join(sorted(".".join(name) for name in named)) or "none: its steps in playbooks are what it is for"

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm(services.CHANGE_USERS)

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        if not self.has_add_permission(request):
            raise PermissionDenied

        def make(given: dict[str, Any]) -> str:
            group = services.create_role(name=given["name"], actor=person(request))
            return f"The role {group.name} is made. Give it to users on their pages."

        return form_page(
            request,
            self,
            NewRoleForm,
            title="New role",
            button="Make the role",
            act=make,
            back=reverse("admin:auth_group_changelist"),
        )


# API keys ---------------------------------------------------------------------------------------------------


def state_of(key: ApiKey, at: datetime) -> str:
    if key.revoked_at is not None:
        return "revoked"
    if key.expiry is not None and key.expiry <= at:
        return "expired"
    return "works" if key.user.is_active else "its user is deactivated"


class ByState(DropdownFilter):
    title, parameter_name = "state", "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("works", "works"), ("expired", "expired"), ("revoked", "revoked")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> QuerySet[ApiKey]:
        if self.value() == "revoked":
            return queryset.filter(revoked_at__isnull=False)
        if self.value() == "expired":
            return queryset.filter(revoked_at__isnull=True, expiry__lte=clock.Now())
        if self.value() == "works":
            return queryset.filter(revoked_at__isnull=True, expiry__gt=clock.Now(), user__is_active=True)
        return queryset


@admin.register(ApiKey)
class ApiKeyAdmin(EvidenceAdmin):
    """Administrators and auditors see all keys; everybody else sees, makes and revokes their own."""

    list_display = ("beginning", "name", "user", "created", "expiry", "last_used_at", "shown_state")
    list_filter = (ByState,)
    list_select_related = ("user",)
    search_fields = ("token_key", "name", "user__username")
    actions_detail = ("revoke",)
    fields = (
        "beginning",
        "name",
        "user",
        "shown_state",
        "created",
        "created_by",
        "expiry",
        "last_used_at",
        "revoked_at",
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[ApiKey]:
        keys: QuerySet[ApiKey] = super().get_queryset(request).select_related("user", "created_by")
        keys = keys.annotate(read_at=clock.Now())
        return keys if super().has_view_permission(request) else keys.filter(user=request.user.pk)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return request.user.is_active and request.user.is_staff

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        own = obj is None or obj.user_id == request.user.pk
        return self.has_module_permission(request) and (own or super().has_view_permission(request, obj))

    has_add_permission = has_view_permission

    @admin.display(description="key", ordering="token_key")
    def beginning(self, key: ApiKey) -> str:
        return str(key)

    @display(description="state", label={"works": "success", "expired": "warning", "revoked": "danger"})
    def shown_state(self, key: Any) -> str:
        return state_of(key, key.read_at)

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        if not self.has_add_permission(request):
            raise PermissionDenied

        def make(given: dict[str, Any]) -> HttpResponse:
            lifetime = timedelta(days=given["days"])
            key, token = services.create_key(
                user_id=given["user"].pk, name=given["name"], expires_in=lifetime, actor=person(request)
            )
            return self._shown_once(request, key, token)

        initial = {"user": request.GET.get("user", str(request.user.pk))}
        return form_page(
            request,
            self,
            lambda sent: NewKeyForm(sent, users=_may_have_keys(person(request)), initial=initial),
            title="New API key",
            button="Make the key",
            act=make,
            back=reverse("admin:accounts_apikey_changelist"),
        )

    def _shown_once(self, request: HttpRequest, key: ApiKey, token: str) -> HttpResponse:
        """The answer to the very POST that made the key: no address, session, message or history holds it."""
        response = admin_page(request, self, "accounts/new_key.html", title="Your new API key", key=key, token=token)
        response["Cache-Control"] = "no-store"
        return response

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> Any:
        key = self.get_object(request, str(object_id))
        over = key is None or key.revoked_at is not None
        may = key is not None and (key.user_id == request.user.pk or request.user.has_perm(services.MANAGE_KEYS))
        return super().get_actions_detail(request, object_id) if may and not over else []

    @action(description="Revoke", url_path="revoke")
    def revoke(self, request: HttpRequest, object_id: str) -> HttpResponse:
        key = self.find(request, object_id)

        def end(reason: str) -> str:
            services.revoke_key(token_key=key.token_key, reason=reason, actor=person(request))
            return f"The key {key} is revoked."

        return confirm_page(
            request,
            self,
            title=f"Revoke the key {key} of {key.user.username}?",
            intro="It stops working at once, and tasks claimed with it go back. It cannot be made to work again.",
            button="Revoke",
            act=end,
            back=reverse("admin:accounts_apikey_changelist"),
            danger=True,
        )


def _may_have_keys(maker: User) -> QuerySet[User]:
    """Whom this person may make a key for (`services.may_make_key_for`, as a query)."""
    own = Q(pk=maker.pk)
    others = ~Q(kind=Kind.HUMAN) if maker.has_perm(services.MANAGE_KEYS) else Q(pk__in=())
    return User.objects.filter(own | others, is_active=True).order_by("kind", "username")
