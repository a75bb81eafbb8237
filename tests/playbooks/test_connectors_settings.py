# SPDX-License-Identifier: Apache-2.0
"""What the operator says of hosts and secrets is read strictly: a slip stops the start, and opens nothing."""

import pytest
from django.core.exceptions import ImproperlyConfigured

from config.settings import _hosts, _references
from playbooks import secret_refs


def test_hosts_are_read_with_and_without_a_port():
    given = " portal.example.gov, CMS.internal:8080,[::1]:9000,10.0.0.7:80 ,"

    assert _hosts("HOSTS", given) == {
        ("portal.example.gov", None),
        ("cms.internal", 8080),
        ("::1", 9000),
        ("10.0.0.7", 80),
    }
    assert _hosts("HOSTS", "") == frozenset()


@pytest.mark.parametrize(
    "entry",
    [
        "https://portal.example.gov",
        "portal.example.gov/path",
        "user@portal.example.gov",
        "portal.example.gov:http",
        "portal.example.gov:99999",
        "portal.example.gov:",
        "*.example.gov",
        "two words",
        "::1",
        ":8080",
        "portal.example.gov?x",
    ],
)
def test_what_is_no_host_stops_the_start_with_a_sentence(entry):
    with pytest.raises(ImproperlyConfigured, match=r"HOSTS: .* is neither a host nor host:port"):
        _hosts("HOSTS", f"cms.internal:8080,{entry}")


def test_references_to_secrets_are_read():
    given = "env:LICENCE_TOKEN, file:/run/secrets/exporter"

    assert _references("SECRETS", given) == {"env:LICENCE_TOKEN", "file:/run/secrets/exporter"}


@pytest.mark.parametrize("entry", ["hunter2-the-token", "env:2ND", "env:TWO WORDS", "file:relative", "vault:x"])
def test_a_secret_put_there_by_mistake_stops_the_start_and_is_not_repeated(entry):
    with pytest.raises(ImproperlyConfigured, match="SECRETS: entry 2 is neither env:NAME nor file:/path") as fault:
        _references("SECRETS", f"env:GOOD,{entry}")
    assert entry not in str(fault.value)


@pytest.mark.parametrize("reference", ["env:LICENCE_TOKEN", "file:/run/secrets/exporter"])
def test_what_the_settings_take_for_a_reference_can_be_used(reference):
    secret_refs.check_reference(reference, _references("SECRETS", reference))
