# SPDX-License-Identifier: Apache-2.0
"""The environment, read once. Defaults run on a laptop; a bad value stops the start with a sentence.

Without DATABASE_URL the installation is *embedded*: SQLite under `var/`, a secret key made once into a file
that only its owner can read. With DATABASE_URL it is *production*, and SECRET_KEY and ALLOWED_HOSTS must be given.
"""

import base64
import hashlib
import os
import re
import secrets
import sys
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import environ
from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured

from config import crash

BASE_DIR = Path(__file__).resolve().parent.parent
env = environ.Env()


def _text(name: str, default: str = "") -> str:
    """The variable, or the content of the file that NAME_FILE names (for mounted secrets)."""
    file_name = os.environ.get(f"{name}_FILE", "")
    if file_name:
        try:
            return Path(file_name).read_text().strip()
        except OSError as fault:
            raise ImproperlyConfigured(f"{name}_FILE={file_name!r} cannot be read: {fault.strerror}.")
    return os.environ.get(name, "").strip() or default


def _number(name: str, default: int, *, low: int, high: int) -> int:
    given = _text(name, str(default))
    if not given.isdecimal() or not low <= int(given) <= high:
        raise ImproperlyConfigured(f"{name}={given!r}: give a whole number from {low} to {high}.")
    return int(given)


def _flag(name: str, default: bool) -> bool:
    given = _text(name, "yes" if default else "no").lower()
    if given not in {"yes", "no", "true", "false", "1", "0", "on", "off"}:
        raise ImproperlyConfigured(f"{name}={given!r}: give yes or no.")
    return given in {"yes", "true", "1", "on"}


def _hosts(name: str, given: str) -> frozenset[tuple[str, int | None]]:
    """(host, port), the port None where none is given: `licences.example.gov, cms.internal:8080`."""
    found = set()
    for entry in filter(None, (each.strip() for each in given.split(","))):
        try:
            parts = urlsplit(f"//{entry}")
            host, port = parts.hostname or "", parts.port
        except ValueError:
            host, port = "", None
        plain = f"[{host}]" if ":" in host else host
        if not re.fullmatch(r"[a-z0-9._-]+|[0-9a-f:.]+", host) or entry.lower() not in {plain, f"{plain}:{port}"}:
            raise ImproperlyConfigured(f"{name}: {entry!r} is neither a host nor host:port.")
        found.add((host, port))
    return frozenset(found)


def _references(name: str, given: str) -> frozenset[str]:
    """References to secrets: `env:LICENCE_TOKEN, file:/run/secrets/exporter`."""
    found = [entry for each in given.split(",") if (entry := each.strip())]
    for number, entry in enumerate(found, 1):
        if not re.fullmatch(r"env:[A-Za-z_][A-Za-z0-9_]*|file:/[!-~]+", entry):
            # Not repeated: it may be the secret itself, put here by mistake.
            raise ImproperlyConfigured(f"{name}: entry {number} is neither env:NAME nor file:/path.")
    return frozenset(found)


def _keys(name: str, given: str) -> tuple[bytes, ...]:
    """Keys of 32 bytes as base64, newest first, parted by commas or white space."""
    found = []
    for number, written in enumerate(filter(None, re.split(r"[\s,]+", given)), 1):
        try:
            key = base64.b64decode(written.rstrip("=") + "=" * (-len(written.rstrip("=")) % 4), b"-_", validate=True)
        except ValueError:
            key = b""
        if len(key) != 32:
            raise ImproperlyConfigured(f"{name}: key {number} is not 32 bytes in base64 (-_ for +/).")
        found.append(key)
    if len(set(found)) != len(found):
        raise ImproperlyConfigured(f"{name}: a key stands there twice.")
    return tuple(found)


def _embedded_secret(path: Path, size: int = 50) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(size))
    except FileExistsError:
        return path.read_text()
    return path.read_text()


VAR_DIR = Path(_text("HMS_ACT_VAR", str(BASE_DIR / "var")))
DEBUG = _flag("DEBUG", False)

# Database -------------------------------------------------------------------------------------------------

DATABASE_URL = _text("DATABASE_URL")
EMBEDDED = not DATABASE_URL or DATABASE_URL.startswith("sqlite:")
if not DATABASE_URL:
    VAR_DIR.mkdir(parents=True, exist_ok=True)
    DATABASE_URL = f"sqlite:///{VAR_DIR / 'hms_act.sqlite3'}"
try:
    _database = env.db_url_config(DATABASE_URL)
except Exception:
    _database = {}
if _database.get("ENGINE") not in {"django.db.backends.sqlite3", "django.db.backends.postgresql"}:
    raise ImproperlyConfigured(
        f"DATABASE_URL={DATABASE_URL!r}: give postgres://user:password@host:5432/name, or sqlite:////path/to/file."
    )
_database["CONN_HEALTH_CHECKS"] = True
_database["CONN_MAX_AGE"] = None if not EMBEDDED else 0
_database["ATOMIC_REQUESTS"] = False
if EMBEDDED:
    # Immediate transactions: a write lock taken late fails where one taken early waits.
    # FULL, because a line of the action log that was acknowledged must survive a power cut.
    _database["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": (
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA busy_timeout=20000;"
            "PRAGMA temp_store=MEMORY; PRAGMA cache_size=-20000; PRAGMA journal_size_limit=27103364;"
        ),
    }
    _database.setdefault("TEST", {})
else:
    _database.setdefault("OPTIONS", {})["options"] = (
        "-c lock_timeout=10s -c statement_timeout=60s -c idle_in_transaction_session_timeout=60s -c timezone=UTC"
    )
    # Plans are kept for the statements that ask for it (config/prepared.py), and for no other, however often it comes.
    _database["OPTIONS"]["prepare_threshold"] = 2**31
DATABASES = {"default": _database}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# Secrets and hosts ----------------------------------------------------------------------------------------

SECRET_KEY = _text("SECRET_KEY")
if not SECRET_KEY:
    if not EMBEDDED:
        raise ImproperlyConfigured(
            "SECRET_KEY is not set: give 50 random characters, or their file in SECRET_KEY_FILE."
        )
    SECRET_KEY = _embedded_secret(VAR_DIR / "secret_key")
if len(SECRET_KEY) < 32:
    raise ImproperlyConfigured("SECRET_KEY is shorter than 32 characters: give 50 random characters.")

# Under which the secrets that people give to agents are kept: approvals/keyring.py. Without a key none is accepted.
_ring = _text("SECRETS_KEYS")
if not _ring and EMBEDDED:
    _ring = _embedded_secret(VAR_DIR / "secrets_keys", 32)
SECRETS_KEYS = _keys("SECRETS_KEYS", _ring)
SECRET_TTL_SECONDS = _number("HMS_ACT_SECRET_TTL", 24 * 3600, low=60, high=30 * 24 * 3600)
# Signs receipts of approvals (approvals/signing.py). People decide in web processes; whoever carries out what they
# approved must not be able to sign, so a worker does not even read the key where it was given one.
SIGNS_RECEIPTS = sys.argv[1:2] not in (["worker"], ["qcluster"], ["tick"])
RECEIPT_SIGNING_KEY = _text("RECEIPT_SIGNING_KEY") if SIGNS_RECEIPTS else ""
RECEIPT_KEY_FILE = VAR_DIR / "receipt_signing_key"  # of an embedded installation, made when it is first needed

SITE_ROOT = _text("SITE_ROOT", "http://localhost:8000").rstrip("/")
_site = urlsplit(SITE_ROOT)
if _site.scheme not in {"http", "https"} or not _site.hostname:
    raise ImproperlyConfigured(f"SITE_ROOT={SITE_ROOT!r}: give the address people open, e.g. https://act.city.gov.")

ALLOWED_HOSTS = [host.strip() for host in _text("ALLOWED_HOSTS").split(",") if host.strip()]
if not ALLOWED_HOSTS:
    if not EMBEDDED:
        raise ImproperlyConfigured("ALLOWED_HOSTS is not set: give the host names people open, comma-separated.")
    ALLOWED_HOSTS = ["localhost", "127.0.0.1", "[::1]"]
CSRF_TRUSTED_ORIGINS = [SITE_ROOT]

if _site.scheme == "https":
    SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = True
    SECURE_SSL_REDIRECT = _flag("HTTPS_REDIRECT", True)
    SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$"]  # asked from within, by plain HTTP
    SECURE_HSTS_SECONDS = 365 * 24 * 3600
    SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = True
    if _flag("BEHIND_PROXY", False):
        SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
CSRF_FAILURE_VIEW = "config.error_pages.form_from_elsewhere"
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"

# Applications ---------------------------------------------------------------------------------------------

INSTALLED_APPS = [
    "config.apps.ConfigConfig",
    "unfold",
    "unfold.contrib.filters",
    "unfold.contrib.simple_history",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "rest_framework",
    "django_filters",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "knox",
    "simple_history",
    "django_q",
    "axes",
    "csp",
    "audit",
    "accounts",
    "playbooks",
    "runs",
    "approvals",
    "demo",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "config.middleware.ContentSecurityPolicy",
    "config.middleware.RequestOrigin",
    "config.middleware.PageMethods",
    "config.middleware.NoNul",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "simple_history.middleware.HistoryRequestMiddleware",
    "config.middleware.Refusals",
    "axes.middleware.AxesMiddleware",
]
APPEND_SLASH = True
ROOT_URLCONF = "config.urls"
ASGI_APPLICATION = "config.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

# People, keys and tokens ----------------------------------------------------------------------------------

AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]
LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "admin:index"
AXES_FAILURE_LIMIT = 10
AXES_COOLOFF_TIME = timedelta(minutes=15)
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_RESET_ON_SUCCESS = True
AXES_VERBOSE = False
AXES_LOCKOUT_CALLABLE = "accounts.log_ins.locked_out"
AXES_USERNAME_CALLABLE = "accounts.log_ins.name_counted"
AXES_DISABLE_ACCESS_LOG = True  # log-ins stand in the action log, and there alone
AXES_ENABLE_ADMIN = False

KNOX_TOKEN_MODEL = "accounts.ApiKey"
REST_KNOX = {"TOKEN_PREFIX": "hmsact_", "TOKEN_TTL": timedelta(days=365), "AUTH_HEADER_PREFIX": "Bearer"}
SIMPLE_JWT = {
    "ACCESS_TOKEN_LIFETIME": timedelta(minutes=15),
    "REFRESH_TOKEN_LIFETIME": timedelta(hours=12),
    "SIGNING_KEY": _text("JWT_SIGNING_KEY") or hashlib.sha256(b"hms-act jwt " + SECRET_KEY.encode()).hexdigest(),
    "ALGORITHM": "HS256",
    "ISSUER": "hms-act",
    "CHECK_REVOKE_TOKEN": True,
    "UPDATE_LAST_LOGIN": False,
}

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["accounts.authentication.BearerOrSession"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_THROTTLE_CLASSES": ["accounts.limits.PerCredential"],
    "DEFAULT_PARSER_CLASSES": ["config.api.StrictJSONParser"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "config.api.Negotiation",
    "DEFAULT_RENDERER_CLASSES": ["config.api.JSONRenderer"],
    "DEFAULT_PAGINATION_CLASS": "config.lists.CursorPages",
    "DEFAULT_FILTER_BACKENDS": ["config.lists.ListFilters"],
    "DEFAULT_SCHEMA_CLASS": "config.openapi.CallSchema",
    "EXCEPTION_HANDLER": "config.api.problem_response",
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
    "URL_FORMAT_OVERRIDE": None,
    "PAGE_SIZE": 50,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "HMS-ACT",
    "DESCRIPTION": "Mission control for the actions of AI agents, people and services.",
    "VERSION": "0.1.0",
    "OAS_VERSION": "3.1.0",
    "LICENSE": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
    "DEFAULT_GENERATOR_CLASS": "config.openapi.Generator",
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
    "COMPONENT_SPLIT_PATCH": False,
    "POSTPROCESSING_HOOKS": [],  # words of a choice stand where they are used
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    "SCHEMA_PATH_PREFIX": "/",
}
DATA_UPLOAD_MAX_MEMORY_SIZE = 1024 * 1024  # bytes; also the cap of an API body
ATTACHMENT_MAX_BYTES = _number("HMS_ACT_ATTACHMENT_MAX", 5 * 1024 * 1024, low=1024, high=64 * 1024 * 1024)
# What an error report says of the request and of the program's variables: nothing that somebody sent.
DEFAULT_EXCEPTION_REPORTER_FILTER = "config.reports.NothingOfOthers"

# Pages ----------------------------------------------------------------------------------------------------

# Strict everywhere; config.middleware relaxes it for the stock admin pages, whose skin needs it.
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "img-src": [SELF, "data:"],
        "object-src": [NONE],
        "base-uri": [SELF],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
    }
}
LANGUAGE_CODE = "en"
FORMAT_MODULE_PATH = "config.formats"
TIME_ZONE = "UTC"
USE_TZ = True
STATIC_URL = "/static/"
STATIC_ROOT = VAR_DIR / "static"
if EMBEDDED:
    STATIC_ROOT.mkdir(parents=True, exist_ok=True)  # WhiteNoise looks into it at every start
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
WHITENOISE_USE_FINDERS = EMBEDDED
SIMPLE_HISTORY_REVERT_DISABLED = True
SIMPLE_HISTORY_ENFORCE_HISTORY_MODEL_PERMISSIONS = True
UNFOLD = {
    "SITE_TITLE": "HMS-ACT",
    "SITE_HEADER": "HMS-ACT",
    "SITE_SUBHEADER": "Mission control for actions",
    "SITE_SYMBOL": "task_alt",
    "SITE_URL": None,
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": f"{STATIC_URL}hms_act/icon.svg"}],
    "STYLES": [f"{STATIC_URL}hms_act/skin.css"],
    "SIDEBAR": {"navigation": "config.navigation.sidebar"},
    "ACCOUNT": {"navigation": "config.navigation.account"},
    "DASHBOARD_CALLBACK": "config.dashboard.fill",
    "COLORS": {
        "primary": {
            "50": "oklch(97% .014 254.604)",
            "100": "oklch(93.2% .032 255.585)",
            "200": "oklch(88.2% .059 254.128)",
            "300": "oklch(80.9% .105 251.813)",
            "400": "oklch(70.7% .165 254.624)",
            "500": "oklch(62.3% .214 259.815)",
            "600": "oklch(54.6% .245 262.881)",
            "700": "oklch(48.8% .243 264.376)",
            "800": "oklch(42.4% .199 265.638)",
            "900": "oklch(37.9% .146 265.522)",
            "950": "oklch(28.2% .091 267.935)",
        },
    },
}

# Mail -----------------------------------------------------------------------------------------------------

try:
    vars().update(env.email_url_config(_text("EMAIL_URL", "consolemail://")))
except Exception:
    raise ImproperlyConfigured("EMAIL_URL: give smtp+tls://user:password@host:587, consolemail:// or filemail:///path.")
if _mail_folder := vars().get("EMAIL_FILE_PATH"):
    EMAIL_FILE_PATH = "/" + _mail_folder.lstrip("/")  # the library drops the first slash
DEFAULT_FROM_EMAIL = SERVER_EMAIL = _text("MAIL_FROM", "HMS-ACT <act@localhost>")

# Slack ----------------------------------------------------------------------------------------------------

# Off unless both are given: the token of the app's bot, and the secret by which Slack signs what it sends.
SLACK_TOKEN = _text("HMS_ACT_SLACK_TOKEN")
SLACK_SIGNING_SECRET = _text("HMS_ACT_SLACK_SIGNING_SECRET")
if bool(SLACK_TOKEN) != bool(SLACK_SIGNING_SECRET):
    raise ImproperlyConfigured("HMS_ACT_SLACK_TOKEN and HMS_ACT_SLACK_SIGNING_SECRET: give both, or neither.")
SLACK_API = _text("HMS_ACT_SLACK_API", "https://slack.com/api").rstrip("/")
if urlsplit(SLACK_API).scheme not in {"http", "https"} or not urlsplit(SLACK_API).hostname:
    raise ImproperlyConfigured(f"HMS_ACT_SLACK_API={SLACK_API!r}: give an address, as https://slack.com/api.")

# The worker -----------------------------------------------------------------------------------------------

WORKERS = _number("HMS_ACT_WORKERS", 2, low=1, high=2 if EMBEDDED else 64)
CALL_TIMEOUT_SECONDS = _number("HMS_ACT_CALL_TIMEOUT", 60, low=1, high=3600)  # of one service action
Q_CLUSTER = {
    "name": "hms-act",
    "orm": "default",
    "broker_class": "runs.broker.DueBroker",
    "workers": WORKERS,
    "timeout": CALL_TIMEOUT_SECONDS,
    "retry": 2 * CALL_TIMEOUT_SECONDS,
    "ack_failures": True,
    "max_attempts": 3,
    "catch_up": False,
    "bulk": 1,
    "queue_limit": WORKERS,
    "poll": 0.2,
    "save_limit": -1,
    "label": "Housekeeping",
}

# The engine -----------------------------------------------------------------------------------------------

AGENT_LEASE_SECONDS = _number("HMS_ACT_AGENT_LEASE", 60, low=5, high=24 * 3600)
HUMAN_LEASE_SECONDS = _number("HMS_ACT_HUMAN_LEASE", 8 * 3600, low=60, high=7 * 24 * 3600)  # over the API
REVIEW_ROLE = _text("HMS_ACT_REVIEW_ROLE", "human:reviewer")  # who answers requests that name no role
# Of one agent or program, outside of any step; 0 is no limit. The admin sets others for single ones.
OPEN_REQUESTS_LIMIT = _number("HMS_ACT_OPEN_REQUESTS", 500, low=0, high=1_000_000)
REQUESTS_PER_HOUR = _number("HMS_ACT_REQUESTS_PER_HOUR", 2000, low=0, high=10_000_000)
PERSON_STATISTICS_MINIMUM = _number("HMS_ACT_PERSON_STATISTICS_MINIMUM", 20, low=5, high=100_000)  # decisions
CLAIM_CAP_SECONDS = _number("HMS_ACT_CLAIM_CAP", 3 * 24 * 3600, low=3600, high=31 * 24 * 3600)  # renewals end here
DELEGATION_SECONDS = 14 * 24 * 3600  # of one request, where no end is named
EXTENSION_CAP_SECONDS = _number("HMS_ACT_EXTENSION_CAP", 7 * 24 * 3600, low=0, high=366 * 24 * 3600)
PAGE_LEASE_SECONDS = 15 * 60  # on pages, renewed by activity
# Calls a minute, per credential and scope; 0 is no limit.
RATE_LIMITS = {
    "claim": _number("HMS_ACT_RATE_CLAIM", 3000, low=0, high=1_000_000),
    "create": _number("HMS_ACT_RATE_CREATE", 600, low=0, high=1_000_000),
    "decide": _number("HMS_ACT_RATE_DECIDE", 300, low=0, high=1_000_000),
    "read": _number("HMS_ACT_RATE_READ", 3000, low=0, high=1_000_000),
}
# Modules that register service actions with the catalogue, comma-separated; the demonstration brings its own.
ACTION_MODULES = [name.strip() for name in _text("HMS_ACT_ACTIONS", "demo.actions").split(",") if name.strip()]
# Where connectors may call, and which secrets they may send: playbooks/outbound.py, playbooks/secret_refs.py.
CONNECTOR_HOSTS = _hosts("HMS_ACT_CONNECTOR_HOSTS", _text("HMS_ACT_CONNECTOR_HOSTS"))
CONNECTOR_SECRETS = _references("HMS_ACT_CONNECTOR_SECRETS", _text("HMS_ACT_CONNECTOR_SECRETS"))
DEMO_FEE_URL = _text("HMS_ACT_DEMO_FEE_URL")  # of the demonstration's payment system

# Tests ----------------------------------------------------------------------------------------------------

CRASH_AT = _text("HMS_ACT_CRASH_AT")  # where this process shall die: config/crash.py
if CRASH_AT and not _flag("HMS_ACT_TEST", False):
    raise ImproperlyConfigured("HMS_ACT_CRASH_AT kills the server: only a test sets it, and HMS_ACT_TEST=yes with it.")
if CRASH_AT and CRASH_AT not in crash.POINTS:
    raise ImproperlyConfigured(f"HMS_ACT_CRASH_AT={CRASH_AT!r}: there are {', '.join(sorted(crash.POINTS))}.")

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": _text("LOG_LEVEL", "WARNING").upper()},
    "loggers": {"django-q": {"handlers": ["console"], "level": "ERROR", "propagate": False}},
}
