# SPDX-License-Identifier: Apache-2.0
"""The reference page says what the parser does."""

import json
import re
from pathlib import Path

import pytest

from playbooks import json_schema, schema, schema_parts, source
from playbooks.parse import DocumentInvalid, parse, to_document

PAGE = (Path(__file__).parents[2] / "docs/reference/playbook-document.md").read_text(encoding="utf-8")
YAML = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
JSON = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
PARTS = [schema.Document, schema.WebFormPart, schema.BranchPart, schema.CasePart, *schema.STEP_MODELS.values()]
PARTS += [schema_parts.OptionPart, schema_parts.RetryPolicyPart, schema_parts.RetryRulePart, schema_parts.TimeoutsPart]


@pytest.mark.parametrize("text", YAML)
def test_every_document_on_the_page_is_a_playbook(text):
    assert parse(text).definition.steps


def test_the_normal_form_on_the_page_is_that_of_the_first_document():
    assert to_document(parse(YAML[0]).definition) == json.loads(JSON[1])


def test_the_answer_on_the_page_is_the_answer():
    text = YAML[0].replace("retries", "retires").replace("    retires: 3\n", "")
    text = text.replace("    role: agent:validator\n", "    retires: 3\n    role: agent:validator\n")
    with pytest.raises(DocumentInvalid) as refused:
        parse(text)

    answer = {"code": refused.value.code, "status": refused.value.status, "detail": refused.value.detail}
    answer["errors"] = [problem.as_json() for problem in refused.value.errors]
    assert answer == json.loads(JSON[0])


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.__name__)
def test_every_field_is_on_the_page(part):
    missing = [name for name, field in part.model_fields.items() if not re.search(rf"\b{name}\b", PAGE)]

    assert [name for name in missing if name != "schema_"] == []


def test_every_keyword_and_format_of_schemas_is_on_the_page():
    words = [*json_schema.KEYWORDS, *json_schema.FORMATS]

    assert [word for word in words if f"`{word}`" not in PAGE] == []


def test_the_bounds_on_the_page_are_the_bounds():
    depth, keys, values = source.MAX_DEPTH, source.MAX_KEYS, source.MAX_VALUES

    assert f"{depth} levels, {keys:,} keys, {values:,} values" in PAGE
    assert f"{json_schema.MAX_DEPTH} levels, {json_schema.MAX_SCHEMAS} schemas and" in PAGE
    assert f"{json_schema.MAX_CHARACTERS // 1024} KiB of text" in PAGE
    assert f"at most {source.MAX_BYTES // 1024**2} MiB" in PAGE
