# SPDX-License-Identifier: Apache-2.0
"""`{{ text|made_visible }}` and `{{ value|as_text }}`: text of others on a page, with nothing hidden in it."""

from django import template

from audit import shown

register = template.Library()
register.filter("made_visible", shown.made_visible)
register.filter("as_text", shown.as_text)
